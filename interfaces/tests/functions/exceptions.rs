//! What a worker's exception means.

use interfaces::faas::{FaasError, FaultKind};
use l4::exception::ExceptionFrame;

#[test]
fn exceptions_become_errors() {
    let page_fault = |error, address, rsp| ExceptionFrame {
        vector: 14,
        error,
        address,
        rsp,
        rip: 0x20_0010,
        ..ExceptionFrame::default()
    };
    let kind = |frame: &ExceptionFrame| match FaasError::from_exception(frame, 0) {
        FaasError::Fault {
            kind,
            address,
            instruction,
        } => (kind, address, instruction),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        kind(&page_fault(6, 0, 0x3f_0000)),
        (FaultKind::Write, 0, 0x20_0010)
    );
    assert_eq!(kind(&page_fault(4, 0x9000, 0x3f_0000)).0, FaultKind::Read);
    assert_eq!(kind(&page_fault(0x14, 0x9000, 0x3f_0000)).0, FaultKind::Execute);
    assert_eq!(
        kind(&page_fault(6, 0x3e_fff8, 0x3f_0000)).0,
        FaultKind::StackOverflow
    );
    let divide = ExceptionFrame {
        vector: 0,
        address: 77,
        reason: 1,
        ..ExceptionFrame::default()
    };
    assert_eq!(kind(&divide), (FaultKind::DivideByZero, 0, 0));
    let quota = ExceptionFrame {
        reason: 2,
        ..page_fault(6, 0x9000, 0)
    };
    assert_eq!(
        FaasError::from_exception(&quota, 4096),
        FaasError::MemoryLimit { limit_bytes: 4096 }
    );
}
