//! Digests that are fed piece by piece, and comparison in constant time: what Workers add to WebCrypto.

use std::borrow::Cow;
use std::cell::RefCell;

use deno_core::{OpState, Resource, ResourceId, ToJsBuffer, op2};
use deno_error::JsErrorBox;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

/// A digest under way.
struct Digest(RefCell<Box<dyn DynDigest>>);

impl Resource for Digest {
    fn name(&self) -> Cow<'_, str> {
        "digest".into()
    }
}

fn hasher(name: &str) -> Result<Box<dyn DynDigest>, JsErrorBox> {
    Ok(match name {
        "MD5" => Box::<Md5>::default(),
        "SHA-1" => Box::<Sha1>::default(),
        "SHA-256" => Box::<Sha256>::default(),
        "SHA-384" => Box::<Sha384>::default(),
        "SHA-512" => Box::<Sha512>::default(),
        _ => return Err(JsErrorBox::type_error(format!("there is no digest \"{name}\""))),
    })
}

/// Starts a digest.
#[op2(fast)]
#[smi]
pub fn op_digest_new(state: &mut OpState, #[string] name: &str) -> Result<ResourceId, JsErrorBox> {
    let digest = Digest(RefCell::new(hasher(name)?));
    Ok(state.resource_table.add(digest))
}

/// Feeds a digest.
#[op2(fast)]
pub fn op_digest_update(state: &mut OpState, #[smi] rid: ResourceId, #[buffer] data: &[u8]) -> Result<(), JsErrorBox> {
    let digest = state.resource_table.get::<Digest>(rid).map_err(JsErrorBox::from_err)?;
    digest.0.borrow_mut().update(data);
    Ok(())
}

/// Ends a digest.
#[op2]
#[serde]
pub fn op_digest_finish(state: &mut OpState, #[smi] rid: ResourceId) -> Result<ToJsBuffer, JsErrorBox> {
    let digest = state.resource_table.take::<Digest>(rid).map_err(JsErrorBox::from_err)?;
    let bytes = digest.0.borrow_mut().finalize_reset();
    Ok(bytes.to_vec().into())
}

/// The digest of what is there whole.
#[op2]
#[serde]
pub fn op_digest(#[string] name: &str, #[buffer] data: &[u8]) -> Result<ToJsBuffer, JsErrorBox> {
    let mut digest = hasher(name)?;
    digest.update(data);
    Ok(digest.finalize_reset().to_vec().into())
}

/// Whether two buffers of one length are equal, in a time that does not tell where they differ.
#[op2(fast)]
pub fn op_timing_safe_equal(#[buffer] a: &[u8], #[buffer] b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0_u8, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}
