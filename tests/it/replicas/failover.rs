//! A Redis that fails over to its replica: the state is there, and nobody knows how much of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::faults::{assert_held, four_with};
use crate::support::fleet::quick;
use crate::support::forwarder::Forwarder;
use crate::support::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_costs_a_lease_and_no_burst() {
    let (Some(mut master), Some(standby)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    standby.run::<()>(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await;
    while !standby.run::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") {
        sleep(Duration::from_millis(20)).await;
    }
    let address = Forwarder::to(master.port()).await;
    let mut config = quick(&master);
    config.shared.redis = address.url().into();
    let (fleet, _load) = four_with(config, 16).await;
    let lost = Instant::now();
    master.kill();
    let kept: Vec<String> = standby.run(&["KEYS", "weir:permits:*"]).await;
    assert!(kept.len() >= 2, "the state has come over: {kept:?}");
    standby.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    let back = Instant::now();
    address.point_at(standby.port());
    assert_held(&fleet, lost, back).await;
    fleet.assert_bound("Redis failed over");
}
