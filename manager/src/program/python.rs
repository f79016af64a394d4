//! Code of functions in Python: what can be seen of it before anything runs it.

use interfaces::faas::{FaasError, ImageFault};
use l4::object::Dataspace;
use l4re::memory::SealedView;
use python_bundle::BundleError;

/// Checks the first `length` bytes of sealed code, in a time that the limits of bundles bound.
///
/// # Errors
/// [`FaasError::InvalidImage`] for what the runtime would refuse.
pub(crate) fn check(code: Dataspace, length: u64) -> Result<(), FaasError> {
    let view = SealedView::attach(code)?;
    let bytes = usize::try_from(length)
        .ok()
        .and_then(|length| view.bytes().get(..length))
        .ok_or(FaasError::InvalidImage(ImageFault::TooLarge))?;
    python_bundle::check(bytes).map_err(|error| FaasError::InvalidImage(fault(&error)))
}

fn fault(error: &BundleError) -> ImageFault {
    match error {
        BundleError::Truncated => ImageFault::ZipTruncated,
        BundleError::Damaged(_) => ImageFault::ZipDamaged,
        BundleError::TooManyFiles => ImageFault::ZipTooManyFiles,
        BundleError::TooLarge => ImageFault::UnpackedTooLarge,
        BundleError::BadName(_) => ImageFault::ZipBadName,
        BundleError::Twice(_) => ImageFault::ZipTwice,
        BundleError::NativeExtension(_) => ImageFault::NativeExtension,
        BundleError::Encrypted(_) => ImageFault::ZipEncrypted,
        BundleError::Compression(_) => ImageFault::ZipCompression,
        BundleError::NotText { .. } => ImageFault::NotText,
    }
}
