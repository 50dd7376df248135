//! SIGHUP: keys, limits and the log's level as they are in the file now, whole or not at all, and nobody is cut off.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::access::keys::{generate, hash_of};

use super::{Client, key_lines};
use crate::support::process::{Process, config};
use crate::support::redis::send_signal;

const ALIASES: &str = "{ a: channels { custSpaceId } b: channels { custSpaceId } }";

/// A config whose end is written anew. Keys come last in the file: they are sections of their own.
struct Ending {
    dir: TempDir,
    begins: String,
}

impl Ending {
    fn new(vendors: &Process) -> Self {
        let dir = TempDir::new().unwrap();
        let begins = std::fs::read_to_string(config(dir.path(), &vendors.address, "")).unwrap();
        Self { dir, begins }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("weir.toml")
    }

    fn with(&self, more: &str) {
        std::fs::write(self.path(), format!("{}{more}", self.begins)).unwrap();
    }
}

#[tokio::test]
async fn a_key_comes_and_goes_without_a_restart() {
    let vendors = Process::simulate(&[]).await;
    let (file, old, new) = (Ending::new(&vendors), generate(), generate());
    let with = |more: &str| file.with(more);
    with(&key_lines("dashboards", &old, ""));
    let weir = Process::serve(&file.path()).await;
    let client = Client::new(&weir.address);
    assert_eq!(client.ask(&old, ALIASES).await.0, 200);
    assert_eq!(client.ask(&new, ALIASES).await.0, 401);

    // Both for a while.
    with(&format!("{}{}", key_lines("dashboards", &old, ""), key_lines("dashboards", &new, "")));
    send_signal("HUP", weir.pid());
    weir.has_printed("reloaded").await;
    assert_eq!([client.ask(&old, ALIASES).await.0, client.ask(&new, ALIASES).await.0], [200, 200]);

    // The old one goes, the new one sees less, documents may ask for less, and more is logged.
    let narrow = key_lines("dashboards", &new, "channels = [\"cams-beta\"]\n");
    with(&format!("[limits]\naliases = 1\n[log]\nlevel = \"debug\"\n{narrow}"));
    send_signal("HUP", weir.pid());
    weir.has_printed("request answered id=").await;
    until(async || client.ask(&old, ALIASES).await.0 == 401).await;
    let (_, answer) = client.ask(&new, ALIASES).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["limitName"], "aliases",
        "what was answered before is judged anew: {answer}"
    );
    let (_, answer) = client.ask(&new, "{ channels { custSpaceId } }").await;
    assert_eq!(answer["data"], json!({ "channels": [{ "custSpaceId": "cams-beta" }] }));

    // What is wrong changes nothing, however much else is right.
    with(&format!("[limits]\naliases = \"many\"\n{}", key_lines("dashboards", &old, "")));
    send_signal("HUP", weir.pid());
    let printed = weir.has_printed("nothing was reloaded").await;
    assert!(printed.contains("`limits.aliases`: expected a whole number"), "{printed}");
    assert_eq!([client.ask(&old, ALIASES).await.0, client.ask(&new, "{ channels { account } }").await.0], [401, 200]);
    assert!(
        !printed.contains(&old) && !printed.contains(&new) && !printed.contains(&hash_of(&new)),
        "no key is logged"
    );
}

/// Whoever asks while it happens is answered, by what was before or by what comes after.
#[tokio::test]
async fn nobody_is_cut_off_by_it() {
    let vendors = Process::simulate(&[]).await;
    let (file, key) = (Ending::new(&vendors), generate());
    file.with(&key_lines("own", &key, ""));
    let weir = Process::serve(&file.path()).await;
    let client = Client::new(&weir.address);
    let asking = async {
        for _ in 0..200 {
            let (status, answer) = client.ask(&key, "{ channels { custSpaceId } }").await;
            assert_eq!((status, answer.get("errors")), (200, None::<&Value>), "{answer}");
        }
    };
    let reloading = async {
        for _ in 0..20 {
            send_signal("HUP", weir.pid());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::join!(asking, reloading);
}

/// What one caller may ask at once is another number from then on, also for those whose requests are in progress.
#[tokio::test]
async fn how_much_one_caller_may_ask_at_once_is_reloaded() {
    let vendors = Process::simulate(&[]).await;
    let (file, key, watcher) = (Ending::new(&vendors), generate(), generate());
    let with = |most: usize| {
        let keys = [key_lines("own", &key, ""), key_lines("watcher", &watcher, "")].concat();
        file.with(&format!("[limits]\nrequests_per_caller = {most}\n{keys}"));
    };
    with(1);
    let weir = Process::serve(&file.path()).await;
    let client = Client::new(&weir.address);
    // Two calls a second: these take ten.
    let hours =
        "{ operationDistributions(appIds: [\"app-one\"], range: {last: \"PT20H\"}, window: \"PT1H\") { start } }";
    let few = "{ quotas { operation } }";
    let asking = client.ask(&key, hours);
    let changing = async {
        // Somebody else sees that it has begun: what its caller asks before might be let in instead.
        until(async || {
            let (_, answer) = client.ask(&watcher, "{ quotas { queued } }").await;
            answer["data"]["quotas"].as_array().unwrap().iter().any(|quota| quota["queued"] != 0)
        })
        .await;
        let (status, answer) = client.ask(&key, few).await;
        assert_eq!((status, &answer["errors"][0]["extensions"]["limitName"]), (503, &json!("requests_per_caller")));
        with(2);
        send_signal("HUP", weir.pid());
        until(async || client.ask(&key, few).await.0 == 200).await;
        let queued = client.ask(&key, "{ quotas { operation queued } }").await.1;
        assert!(queued["data"]["quotas"].to_string().contains("ListOperationDistribution"), "{queued}");
    };
    let ((status, answer), ()) = tokio::join!(asking, changing);
    assert_eq!((status, answer.get("errors")), (200, None::<&Value>), "{answer}");
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it does not come to hold");
}
