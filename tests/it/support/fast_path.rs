//! The suite runs both ways. With `WEIR_TEST_FAST_PATH=false` every gateway that a test makes, in this process or in another,
//! does without what is there for speed alone. A test that is about the fast path sets it itself.

use weir::config::Config;

/// Whether gateways have it.
pub(crate) fn is_on() -> bool {
    match std::env::var_os("WEIR_TEST_FAST_PATH") {
        None => true,
        Some(value) if value == "true" => true,
        Some(value) if value == "false" => false,
        Some(value) => panic!("WEIR_TEST_FAST_PATH is true or false, not {}", value.display()),
    }
}

/// The demo's config, as every test takes it.
pub(crate) fn demo_config() -> Config {
    let mut config = weir::app::demo_config();
    config.http.fast_path = is_on();
    config
}

/// The line for a config file that holds `more`.
pub(crate) fn line(more: &str) -> &'static str {
    if is_on() || more.contains("http.fast_path") { "" } else { "http.fast_path = false\n" }
}
