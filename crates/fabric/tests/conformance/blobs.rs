//! Blobs: by content, all of it or nothing.

use bytes::Bytes;
use futures_util::future::join_all;
use selvedge_fabric::{BLOB_BYTES_MAX, Fabric, FabricError};
use selvedge_model::BlobHash;

use super::text;

pub(super) async fn check(fabric: &dyn Fabric) {
    a_blob_is_named_by_its_content(fabric).await;
    the_same_bytes_put_at_once_are_one_blob(fabric).await;
    missing_blobs_are_told_from_kept_ones(fabric).await;
    a_blob_over_the_bound_is_refused(fabric).await;
}

async fn a_blob_is_named_by_its_content(fabric: &dyn Fabric) {
    for content in [text("conformance"), Bytes::new(), Bytes::from(vec![9; 3_000_000])] {
        let hash = fabric.put_blob(content.clone()).await.unwrap();
        assert_eq!(hash.as_str(), blake3::hash(&content).to_hex().as_str());
        assert_eq!(fabric.put_blob(content.clone()).await.unwrap(), hash);
        assert_eq!(fabric.get_blob(&hash).await.unwrap(), Some(content.clone()));
        if let Some(path) = fabric.blob_file(&hash) {
            assert_eq!(std::fs::read(path).unwrap(), content);
        }
        fabric.remove_blob(&hash).await.unwrap();
        fabric.remove_blob(&hash).await.unwrap();
        assert_eq!(fabric.get_blob(&hash).await.unwrap(), None);
        assert_eq!(fabric.blob_file(&hash), None);
    }
}

async fn the_same_bytes_put_at_once_are_one_blob(fabric: &dyn Fabric) {
    let outcomes = join_all((0..32).map(|_| fabric.put_blob(text("conformance at once")))).await;
    let hashes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    assert_eq!(fabric.get_blob(&hashes[0]).await.unwrap(), Some(text("conformance at once")));
}

async fn missing_blobs_are_told_from_kept_ones(fabric: &dyn Fabric) {
    let kept = fabric.put_blob(text("conformance kept")).await.unwrap();
    let never: BlobHash = "0".repeat(64).parse().unwrap();
    let missing = fabric.missing_blobs(&[kept, never.clone()]).await.unwrap();
    assert_eq!(missing, std::slice::from_ref(&never));
    assert!(fabric.missing_blobs(&[]).await.unwrap().is_empty());
    assert_eq!(fabric.get_blob(&never).await.unwrap(), None);
}

async fn a_blob_over_the_bound_is_refused(fabric: &dyn Fabric) {
    let large = Bytes::from(vec![0; usize::try_from(BLOB_BYTES_MAX).unwrap() + 1]);
    let refused = fabric.put_blob(large).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
}
