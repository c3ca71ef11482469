//! Logs: compare-and-append, reading, following.

use bytes::Bytes;
use futures_util::future::join_all;
use selvedge_fabric::{Fabric, FabricError, NAME_BYTES_MAX, Position, RECORD_BYTES_MAX};

use super::{is_ready, text, within};

pub(super) async fn check(fabric: &dyn Fabric) {
    records_come_back_in_order(fabric).await;
    an_append_elsewhere_than_at_the_end_is_refused_with_where_the_end_is(fabric).await;
    of_many_that_append_at_one_position_one_wins(fabric).await;
    contenders_that_retry_lose_nothing_and_double_nothing(fabric).await;
    a_follower_misses_no_record(fabric).await;
    names_and_records_have_bounds(fabric).await;
}

async fn records_come_back_in_order(fabric: &dyn Fabric) {
    let log = "conformance/order";
    assert_eq!(fabric.end(log).await.unwrap(), Position(0));
    assert!(fabric.read(log, Position(0), 10).await.unwrap().is_empty());
    let end = fabric.append(log, Position(0), vec![text("a"), text(""), text("c")]).await.unwrap();
    assert_eq!(end, Position(3));
    assert_eq!(fabric.append(log, end, vec![]).await.unwrap(), end, "nothing appended");
    let big = Bytes::from(vec![7; RECORD_BYTES_MAX]);
    assert_eq!(fabric.append(log, end, vec![big.clone()]).await.unwrap(), Position(4));
    assert_eq!(fabric.end(log).await.unwrap(), Position(4));

    let all = fabric.read(log, Position(0), 10).await.unwrap();
    assert_eq!(all.iter().map(|record| record.position.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(
        all.iter().map(|record| record.bytes.clone()).collect::<Vec<_>>(),
        [text("a"), text(""), text("c"), big]
    );
    let middle = fabric.read(log, Position(1), 2).await.unwrap();
    assert_eq!(middle.iter().map(|record| record.position.0).collect::<Vec<_>>(), [2, 3]);
    assert!(fabric.read(log, Position(4), 10).await.unwrap().is_empty());
    assert!(fabric.read(log, Position(0), 0).await.unwrap().is_empty());
    assert_eq!(fabric.end("conformance/order/other").await.unwrap(), Position(0), "logs do not mix");
}

async fn an_append_elsewhere_than_at_the_end_is_refused_with_where_the_end_is(fabric: &dyn Fabric) {
    let log = "conformance/expected";
    fabric.append(log, Position(0), vec![text("a"), text("b")]).await.unwrap();
    for expected in [0, 1, 3] {
        match fabric.append(log, Position(expected), vec![text("c")]).await {
            Err(FabricError::Conflict { end: Position(2), expected: Position(told), .. }) => assert_eq!(told, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fabric.end(log).await.unwrap(), Position(2));
}

async fn of_many_that_append_at_one_position_one_wins(fabric: &dyn Fabric) {
    let log = "conformance/contended";
    for round in 0..20_u64 {
        let contenders = (0..32).map(|who| fabric.append(log, Position(round), vec![text(format!("{round} {who}"))]));
        let outcomes = join_all(contenders).await;
        let won: Vec<_> = (0..32).filter(|who| outcomes[*who].is_ok()).collect();
        assert_eq!(won.len(), 1, "in round {round}");
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(FabricError::Conflict { .. }))).count();
        assert_eq!(lost, 31);
        let records = fabric.read(log, Position(round), 10).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].bytes, text(format!("{round} {}", won[0])));
    }
}

async fn contenders_that_retry_lose_nothing_and_double_nothing(fabric: &dyn Fabric) {
    let log = "conformance/retried";
    let append_five = |who: usize| async move {
        for count in 0..5 {
            let mut expected = fabric.end(log).await.unwrap();
            loop {
                match fabric.append(log, expected, vec![text(format!("{who} {count}"))]).await {
                    Ok(_) => break,
                    Err(FabricError::Conflict { end, .. }) => expected = end,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    within("appending with retries", join_all((0..16).map(append_five))).await;
    let mut records: Vec<_> = fabric.read(log, Position(0), 1000).await.unwrap();
    assert_eq!(records.len(), 16 * 5);
    records.sort_by(|one, other| one.bytes.cmp(&other.bytes));
    records.dedup_by(|one, other| one.bytes == other.bytes);
    assert_eq!(records.len(), 16 * 5);
}

async fn a_follower_misses_no_record(fabric: &dyn Fabric) {
    let log = "conformance/followed";
    const RECORDS: u64 = 200;
    let mut quiet = fabric.follow(log);
    assert!(!is_ready(quiet.wake()).await, "nothing has happened yet");

    let append = async {
        for position in 0..RECORDS {
            fabric.append(log, Position(position), vec![text(position.to_string())]).await.unwrap();
        }
    };
    let follow = async {
        let mut wake = fabric.follow(log);
        let mut seen = Position(0);
        while seen.0 < RECORDS {
            let records = fabric.read(log, seen, 7).await.unwrap();
            match records.last() {
                Some(last) => seen = last.position,
                None => wake.wake().await.unwrap(),
            }
        }
    };
    within("following", async { tokio::join!(append, follow) }).await;
    within("what happened before it was asked", quiet.wake()).await.unwrap();
    assert!(!is_ready(quiet.wake()).await, "nothing has happened since");
    fabric.append("conformance/followed/other", Position(0), vec![text("x")]).await.unwrap();
    assert!(!is_ready(quiet.wake()).await, "another log grew");
}

async fn names_and_records_have_bounds(fabric: &dyn Fabric) {
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let refused = fabric.append(&long, Position(0), vec![text("a")]).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    let refused = fabric.append("", Position(0), vec![text("a")]).await;
    assert!(matches!(refused, Err(FabricError::Empty { .. })), "{refused:?}");
    let large = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
    let refused = fabric.append("conformance/bounds", Position(0), vec![text("a"), large]).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    assert_eq!(fabric.end("conformance/bounds").await.unwrap(), Position(0), "all or none");
    let exact = "n".repeat(NAME_BYTES_MAX);
    let end = fabric.end(&exact).await.unwrap();
    fabric.append(&exact, end, vec![text("a")]).await.unwrap();
}
