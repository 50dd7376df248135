//! Who may ask: keys that agree with one another and with what is configured.

use std::collections::HashMap;

use url::{Host, Url};

use super::Check;
use crate::config::problem::KeyPath;
use crate::config::{ApiKey, Config, Jwt};
use crate::domain::wording::nearest;

impl Check<'_, '_, '_> {
    pub(super) fn access(&mut self, config: &Config) {
        let paths: Vec<KeyPath> = self.paths("api_keys").take(config.api_keys.len()).collect();
        let channels: Vec<_> = config.alibaba_cams.iter().flat_map(|account| &account.channels).collect();
        let apps: Vec<_> = config.volcengine_rtc.iter().flat_map(|account| &account.apps).collect();
        let (mut names, mut hashes) = (HashMap::new(), HashMap::new());
        for (path, key) in paths.iter().zip(&config.api_keys) {
            self.key_name(&path.then("name"), &key.name);
            self.known(&path.then("channels"), key.channels.as_deref(), &channels);
            self.known(&path.then("apps"), key.apps.as_deref(), &apps);
            if key.classes.as_ref().is_some_and(Vec::is_empty) {
                self.refuse(
                    &path.then("classes"),
                    "is empty, so that nothing may be asked; leave it out for all classes",
                );
            }
            if let Some(first) = hashes.insert(key.hash, path) {
                self.refuse(&path.then("hash"), &format!("is that of `{first}` already; each entry needs its own key"));
            }
            match names.insert(&key.name, (path, key)) {
                Some((first, known)) if !is_same_caller(known, key) => {
                    let message = format!(
                        "is the name of `{first}`, and what they may differs; keys of one name are one caller's, so make \
                         the entries equal but for `hash` and `expires`"
                    );
                    self.refuse(&path.then("name"), &message);
                }
                _ => {}
            }
        }
        if let Some(jwt) = &config.jwt {
            self.jwt(jwt);
        }
    }

    fn key_name(&mut self, path: &KeyPath, name: &str) {
        let is_taken = ["anonymous", "weir", "token"].contains(&name);
        if name.trim().is_empty() || name.trim() != name || name.contains('#') || name.chars().any(char::is_control) {
            self.refuse(
                path,
                "is empty, or has a space around it or a # or control character in it; logs and metrics show it",
            );
        } else if is_taken || name.len() > 64 {
            self.refuse(path, "is a name that weir uses itself, or longer than 64 bytes; choose another");
        }
    }

    fn known(&mut self, path: &KeyPath, named: Option<&[String]>, known: &[&String]) {
        for (index, name) in named.unwrap_or_default().iter().enumerate().filter(|(_, name)| !known.contains(name)) {
            let nearest = nearest(name, known.iter().map(|known| known.as_str()));
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            self.refuse(&path.at(index), &format!("no configured account serves it{hint}"));
        }
    }

    fn jwt(&mut self, jwt: &Jwt) {
        let path = KeyPath::key("jwt");
        for (key, text) in [("issuer", &jwt.issuer), ("audience", &jwt.audience), ("jwks", &jwt.jwks)] {
            if text.trim().is_empty() {
                self.refuse(&path.then(key), "is empty; the issuer's documentation gives it");
            }
        }
        if jwt.algorithms.is_empty() && !self.left_out.contains(&path.then("algorithms").at(0)) {
            self.refuse(
                &path.then("algorithms"),
                "is empty, so that no token is valid; leave it out for RS256 and ES256",
            );
        }
        if Jwt::is_fetched(&jwt.jwks) && !is_safe(&jwt.jwks) {
            let message = "must be an https:// URL, or http:// on loopback: whoever changes the keys on their way lets \
                           anybody in";
            self.refuse(&path.then("jwks"), message);
        }
    }
}

/// Whether two keys are of one caller.
fn is_same_caller(one: &ApiKey, other: &ApiKey) -> bool {
    one.rights() == other.rights() && one.calls_per_day == other.calls_per_day
}

fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}
