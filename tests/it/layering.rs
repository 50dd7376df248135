//! The house rules that the compiler does not know: who may use whom, who may make a permit, and where vendors'
//! numbers and words live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::support::sources::{Source, code_of, is_in, root, rust_files, sources, without_tests};

/// Longest file, in lines.
const MAX_LINES: usize = 600;

/// What `owner` may use because everybody may.
fn for_all(owner: &str) -> &'static [&'static str] {
    match owner {
        "domain" => &[],
        "error" => &["domain"],
        _ => &["domain", "error", "telemetry"],
    }
}

/// What each room may use: the rooms have the same files and stand on the same ground.
const ROOM: &[&str] = &[
    "quota::Call",
    "quota::Permit",
    "vendor::credential",
    "vendor::crypto",
    "vendor::endpoint",
    "vendor::exchange",
    "vendor::quotas",
    "vendor::loose",
    "vendor::reply",
    "vendor::transport",
];

/// What each module may use beyond itself and what is [`for_all`]: a module, or some names in it. `*` is everything.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("app", &["*"]),
    ("cli", &["*"]),
    (
        "http",
        &[
            "access",
            "schema::Gateway",
            "schema::Answer",
            "fast",
            "formats",
            "query::Quota",
            "query::Service",
            "archive::Standing",
            "query::collections",
            "query::pull",
            "document",
            "config::Graphiql",
        ],
    ),
    // Who may ask is said by the config.
    ("access", &["config", "redis"]),
    ("formats", &["query::pull"]),
    ("watch", &["archive", "query", "redis"]),
    ("document", &[]),
    // GraphQL's names for what the query layer answers, and for the vendors' own values.
    ("schema", &["document", "fast", "query", "vendor::alibaba_cams", "vendor::volcengine_rtc"]),
    // Answers as bytes, how long they hold, and documents: nothing of how they are made.
    ("fast", &["query::Lasting", "document::Document"]),
    (
        "query",
        &[
            "loader",
            // What is kept of a series.
            "archive::Collected",
            // How the writing goes, for the doors.
            "archive::Standing",
            "archive::Writer",
            // The types of what comes back, or would.
            "store::Answered",
            "store::Served",
            "store::Series",
            "store::Outlook",
            "store::PlannedCall",
            "quota::QuotaStatus",
            // Typed subjects and answers.
            "vendor::alibaba_cams",
            "vendor::volcengine_rtc",
        ],
    ),
    (
        "loader",
        &["archive::Collected", "store", "planner", "quota::QuotaStatus", "quota::Limiter", "vendor::alibaba_cams"],
    ),
    ("store", &["archive", "planner", "quota::Limiter", "redis"]),
    ("archive", &[]),
    ("planner", &["quota"]),
    // The lease of permits that replicas share goes over the link.
    ("quota", &["redis"]),
    ("redis", &[]),
    // The rooms and what they stand on; a room never uses another.
    ("vendor", &["quota::Permit", "quota::Expired"]),
    ("vendor::alibaba_cams", ROOM),
    ("vendor::volcengine_rtc", ROOM),
    // Never the rooms: what checks them must not share their mistakes.
    ("sim", &["quota::Permit", "vendor::transport"]),
    (
        "config",
        &[
            "vendor::alibaba_cams",
            "vendor::volcengine_rtc",
            "vendor::endpoint::Endpoint",
            "vendor::quotas",
            "quota::lease::Terms",
            // What its limits are of.
            "document::Limits",
        ],
    ),
    ("domain", &[]),
    ("error", &[]),
];

#[test]
fn every_module_uses_only_what_it_may() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let (mut forbidden, mut seen) = (Vec::new(), BTreeSet::new());
    for source in sources("src") {
        let owner = owner(&source);
        let Some(may) = allowed.get(owner.as_str()) else { continue };
        for used in source.uses() {
            let is_own = is_in(&used, &owner) && (owner != "vendor" || !is_room(&used));
            if is_own || for_all(&owner).iter().any(|module| is_in(&used, module)) {
                continue;
            }
            match may.iter().find(|module| **module == "*" || is_in(&used, module)) {
                Some(module) => {
                    seen.insert((owner.clone(), *module));
                }
                None => forbidden.push(format!("{} uses {used}", source.path.display())),
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden:\n{}", forbidden.join("\n"));
    // An edge that nobody needs any more is to be taken out of the list.
    let unused: Vec<_> = ALLOWED
        .iter()
        .flat_map(|(owner, may)| may.iter().map(|module| ((*owner).to_owned(), *module)))
        .filter(|edge| !seen.contains(edge))
        .collect();
    assert!(unused.is_empty(), "allowed and not used: {unused:?}");
}

/// What a question means is told apart from how it is asked.
#[test]
fn the_query_layer_knows_no_door() {
    let query: Vec<_> = sources("src").into_iter().filter(|source| owner(source) == "query").collect();
    assert!(query.len() > 5, "the layer was found");
    for source in query {
        for library in ["async_graphql", "axum", "http::", "toml", "clap", "csv::"] {
            assert!(!source.text.contains(library), "{} uses {library}", source.path.display());
        }
    }
}

#[test]
fn every_module_has_its_line_in_the_list() {
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(owner, _)| *owner).chain(["lib", "main", "telemetry"]).collect();
    let unknown: Vec<String> =
        sources("src").iter().map(owner).filter(|owner| !known.contains(owner.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// `super` leads to a neighbour inside the module, never out of it.
#[test]
fn nobody_leaves_a_module_by_super() {
    for source in sources("src") {
        let depth = source.module.split("::").count();
        for path in source.paths("super::") {
            let steps = 1 + path.matches("super::").count();
            // One step from a file leads to its parent, which has to lie inside the module.
            assert!(steps < depth, "{}: super::{path}", source.path.display());
        }
    }
}

#[test]
fn the_reader_of_uses_finds_every_form() {
    let text = r#"
        // use crate::commented;
        //! [`crate::documented`]
        use crate::planner::{self, Scheduler, flight::{Flight as Other, Subscriber}};
        use crate::{domain, vendor::crypto};
        fn f() -> crate::quota::Rule { let _ = "crate::text"; crate::store::lifetime::of(1) }
        #[cfg(test)]
        mod tests { use crate::sim::World; }
    "#;
    let source = Source { path: PathBuf::new(), module: "x".to_owned(), text: code_of(text) };
    let expected = [
        "domain",
        "planner",
        "planner::Scheduler",
        "planner::flight::Flight",
        "planner::flight::Subscriber",
        "quota::Rule",
        "store::lifetime::of",
        "vendor::crypto",
    ];
    assert_eq!(source.uses().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn only_the_quota_makes_permits() {
    let quota = |source: &Source| owner(source) == "quota";
    let all = sources("src");
    let makers = all.iter().filter(|source| source.text.contains("Permit::issue") || source.text.contains("Permit {"));
    let (inside, outside): (Vec<_>, Vec<_>) = makers.partition(|source| quota(source));
    assert!(!inside.is_empty(), "the text that is looked for is there");
    assert!(outside.is_empty(), "{:?}", outside.iter().map(|source| &source.path).collect::<Vec<_>>());
    // And what makes one is not handed out.
    let issue = all.iter().filter(|source| source.text.contains("fn issue(")).collect::<Vec<_>>();
    assert_eq!(issue.len(), 1);
    assert!(issue[0].text.contains("pub(super) fn issue("));
}

/// The client is behind the meter: nobody else makes a room's call, and only the transport sends.
#[test]
fn only_the_meter_calls_a_vendor() {
    for source in sources("src") {
        // Scripts call Redis in these words, and the services of HTTP, which know nothing of vendors, one another.
        let calls = owner(&source) != "http" && source.text.replace("redis.call(", "").contains(".call(");
        assert!(!calls || source.module == "quota::metered", "{} makes a call", source.path.display());
        let sends = source.text.contains("transport.send(");
        assert!(!sends || source.module == "vendor::exchange", "{} sends", source.path.display());
        // The command line asks running gateways, which hold the permits for what it asks; an issuer of tokens is no vendor, and
        // a collector of spans is asked nothing.
        let may = ["vendor::transport", "cli::remote", "access::jwks", "telemetry::traces"];
        let may = may.contains(&source.module.as_str());
        assert!(may || !source.text.contains("reqwest::"), "{} uses reqwest", source.path.display());
    }
}

/// Limits and windows are constants of the rooms; the simulator has its own, so that a wrong one is found.
#[test]
fn vendors_words_and_numbers_live_in_their_rooms() {
    const WORDS: [&str; 10] = [
        "ResponseMetadata",
        "DistributionName",
        "FlowLimit",
        "Throttling",
        "Unknown.ResourceOwnerId",
        "InvalidParameter",
        "x-acs-",
        "ACS3-HMAC",
        "HMAC-SHA256 Credential",
        "2020-06-06",
    ];
    const NUMBERS: [&str; 3] = ["calls_per_second: ", "max_window: Some", "lookback: Some"];
    for source in sources("src") {
        if owner(&source).starts_with("vendor::") || owner(&source) == "sim" {
            continue;
        }
        let with_literals = fs::read_to_string(&source.path).unwrap();
        let with_literals = without_tests(&with_literals);
        let code = with_literals.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let word = WORDS.iter().find(|word| line.contains(**word));
            assert!(word.is_none(), "{}: {line}", source.path.display());
            let number = NUMBERS.iter().find_map(|name| line.split(name).nth(1));
            let is_literal = number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '('));
            assert!(!is_literal, "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn files_are_short_named_for_what_they_hold_and_say_what_they_are() {
    for path in rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests"))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: what second idea does it hold?", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap();
        let empty = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
        assert!(!empty.contains(&name), "{} says nothing", path.display());
        let is_part = name == "tests" || name.ends_with("_tests");
        assert!(is_part || text.starts_with("//! "), "{} does not begin with its promise", path.display());
    }
}

/// A room has the files that every room has, and a file for each operation, which is named in its list.
#[test]
fn the_rooms_are_laid_out_alike() {
    for (room, operations) in [("alibaba_cams", 3), ("volcengine_rtc", 1)] {
        let folder = root().join("src/vendor").join(room);
        for file in ["mod.rs", "config.rs", "client.rs", "signer.rs", "wire.rs", "error.rs"] {
            assert!(folder.join(file).is_file(), "{room} has no {file}");
        }
        let texts = rust_files(&folder).into_iter().map(|path| fs::read_to_string(path).unwrap());
        let n_facts = texts.filter(|text| text.contains("pub const FACTS: Facts")).count();
        assert_eq!(n_facts, operations, "{room}: a file an operation");
    }
}

/// The module whose rules hold for a file: the first word of its path, or a vendor's room.
fn owner(source: &Source) -> String {
    let mut words = source.module.split("::");
    let first = words.next().unwrap_or_default();
    match words.next() {
        Some(room) if is_room(&format!("{first}::{room}")) => format!("{first}::{room}"),
        _ => first.to_owned(),
    }
}

fn is_room(module: &str) -> bool {
    ["vendor::alibaba_cams", "vendor::volcengine_rtc"].iter().any(|room| is_in(module, room))
}
