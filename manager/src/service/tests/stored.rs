//! Stored snapshots: written, and begun from.

use super::client::{TestService, config, definition};
use super::fake::{IMAGE_BYTES, Seen};
use crate::body::Sent;
use crate::platform::{FreezeError, LaunchError, StoredFile};
use interfaces::faas::{FaasError, FreezeFault, ImageInfo, ImageState, RestoreFault, StoreFault};
use interfaces::manifest::StartMode;
use l4::CapIndex;

fn service() -> TestService {
    let mut service = super::client::service();
    service.platform().refuse_freeze = None;
    service
}

/// Creates an action with a stored snapshot, and returns who waits for that.
fn restore(service: &mut TestService, name: &str, mode: StartMode) -> CapIndex {
    create(service, name, mode, true)
}

fn create(service: &mut TestService, name: &str, mode: StartMode, is_required: bool) -> CapIndex {
    let (code, file) = (service.platform().cap(), service.platform().cap());
    let reply = service.platform().reply();
    let stored = Some(StoredFile { file, is_required });
    service.create(&definition(name, config(mode)), code, None, stored, reply);
    service.check();
    reply
}

fn image(service: &mut TestService, name: &str) -> ImageInfo {
    match service.describe(name.as_bytes()).unwrap().image {
        ImageState::Ready(info) => info,
        other => panic!("{other:?} is no image"),
    }
}

fn store(service: &mut TestService, name: &str) -> Result<u64, FaasError> {
    let into = service.platform().cap();
    let stored = service.store(name.as_bytes(), into);
    service.check();
    stored
}

#[test]
fn a_stored_snapshot_is_an_image_at_once() {
    let mut service = service();
    let created = restore(&mut service, "f", StartMode::Snapshot);
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    assert!(image(&mut service, "f").is_loaded);
    assert_eq!(service.describe(b"f").unwrap().unused_snapshot, None);
    assert_eq!(service.counters().images_prepared, 1);
    let reply = service.call("f");
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(reply).0.mode, StartMode::Snapshot);
    // What is prepared from the start says so.
    let mut service = service.with_action("g", config(StartMode::Snapshot));
    assert!(!image(&mut service, "g").is_loaded);
    service.close_and_check();
}

#[test]
fn a_stored_snapshot_that_cannot_be_used_is_an_error_only_if_it_is_required() {
    let mut service = service();
    let fault = RestoreFault::OtherBuild;
    service.platform().stored_fault = Some(fault);
    let refused = create(&mut service, "f", StartMode::Snapshot, true);
    let error = FaasError::NotRestored(fault);
    assert_eq!(service.seen(refused), Some(&Seen::Created(Err(error))));
    assert_eq!(service.describe(b"f"), Err(FaasError::UnknownAction));
    let created = create(&mut service, "f", StartMode::Snapshot, false);
    // It is prepared from its start.
    assert_eq!(service.seen(created), None);
    let worker = service.newest();
    service.ready(worker);
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    assert!(!image(&mut service, "f").is_loaded);
    assert_eq!(service.describe(b"f").unwrap().unused_snapshot, Some(fault));
    service.close_and_check();
}

#[test]
fn clones_of_a_stored_snapshot_are_as_single_as_it_was() {
    for is_single in [false, true] {
        let mut service = service();
        service.platform().stored_is_single = is_single;
        restore(&mut service, "f", StartMode::Warm);
        let reply = service.call("f");
        let worker = service.newest();
        service.done(worker, Sent::Short(b"out"));
        service.result(reply);
        assert_eq!(service.counters().workers_idle, u64::from(!is_single));
        service.close_and_check();
    }
}

#[test]
fn what_is_lacking_for_it_is_told_or_waited_for() {
    let mut service = service();
    service.platform().refuse_launch = Some(LaunchError::LimitTooLow);
    let refused = restore(&mut service, "f", StartMode::Snapshot);
    let created = service.seen(refused);
    assert!(
        matches!(created, Some(Seen::Created(Err(FaasError::MemoryLimit { .. })))),
        "{created:?}"
    );
    service.platform().refuse_launch = None;
    service.platform().refuse_freeze = Some(FreezeError::NotFreezable(FreezeFault::TooLarge));
    let refused = restore(&mut service, "f", StartMode::Snapshot);
    let fault = FaasError::NotFreezable(FreezeFault::TooLarge);
    assert_eq!(service.seen(refused), Some(&Seen::Created(Err(fault))));
    service.close_and_check();
}

#[test]
fn an_action_of_mode_boot_leaves_a_stored_snapshot_alone() {
    let mut service = service();
    let created = restore(&mut service, "f", StartMode::Boot);
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    let state = service.describe(b"f").unwrap().image;
    assert_eq!(state, ImageState::File);
    assert_eq!(
        store(&mut service, "f"),
        Err(FaasError::NotStorable(StoreFault::NoSnapshot))
    );
    service.close_and_check();
}

#[test]
fn images_are_stored_and_others_refused() {
    let mut service = service().with_action("f", config(StartMode::Snapshot));
    assert_eq!(store(&mut service, "f"), Ok(IMAGE_BYTES));
    assert_eq!(store(&mut service, "g"), Err(FaasError::UnknownAction));
    assert_eq!(
        store(&mut service, ""),
        Err(FaasError::InvalidName(interfaces::faas::NameFault::Empty))
    );
    service.close_and_check();
}
