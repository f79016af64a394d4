//! What the processor can do, and switching it on.

// UNSAFETY: writes control registers.
#![allow(
    unsafe_code,
    reason = "processor features are switched on in control registers"
)]

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, Ordering};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// A set of features, as bits.
#[derive(Clone, Copy)]
pub(crate) struct Features(u32);

/// Features that the kernel asks for again while it runs.
pub(super) static FEATURES: AtomicU32 = AtomicU32::new(0);

impl Features {
    /// The bits in [`FEATURES`].
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const AVX: Self = Self(1 << 0);
    pub(crate) const FS_GS_BASE: Self = Self(1 << 1);
    pub(crate) const GIB_PAGES: Self = Self(1 << 2);
    pub(crate) const X2APIC: Self = Self(1 << 3);
    pub(crate) const TSC_DEADLINE: Self = Self(1 << 4);
    pub(crate) const RDRAND: Self = Self(1 << 5);
    pub(crate) const RDSEED: Self = Self(1 << 6);
    pub(crate) const TSC_AUX: Self = Self(1 << 7);
    const XSAVE: Self = Self(1 << 8);
    const NO_EXECUTE: Self = Self(1 << 9);
    const SMEP: Self = Self(1 << 10);
    const SMAP: Self = Self(1 << 11);
    const UMIP: Self = Self(1 << 12);

    /// Whether the processor has the feature. Always false before [`detect`].
    #[inline]
    pub(crate) fn present(self) -> bool {
        FEATURES.load(Ordering::Relaxed) & self.0 != 0
    }
}

/// Registers EAX, EBX, ECX, EDX of a CPUID leaf; `None` if the processor does not have the leaf.
pub(crate) fn cpuid(leaf: u32) -> Option<[u32; 4]> {
    let highest = __cpuid(leaf & 0xffff_0000).eax;
    if !(leaf & 0xffff_0000..=highest).contains(&leaf) {
        return None;
    }
    let result = __cpuid_count(leaf, 0);
    Some([result.eax, result.ebx, result.ecx, result.edx])
}

/// Finds out what the processor can do. All CPUs are taken to be alike.
pub(crate) fn detect() {
    let [_, _, ecx1, _] = cpuid(1).unwrap_or_default();
    let [_, ebx7, ecx7, _] = cpuid(7).unwrap_or_default();
    let [_, _, _, edx_extended] = cpuid(0x8000_0001).unwrap_or_default();
    let table = [
        (Features::AVX, ecx1, 28),
        (Features::X2APIC, ecx1, 21),
        (Features::TSC_DEADLINE, ecx1, 24),
        (Features::XSAVE, ecx1, 26),
        (Features::RDRAND, ecx1, 30),
        (Features::FS_GS_BASE, ebx7, 0),
        (Features::SMEP, ebx7, 7),
        (Features::RDSEED, ebx7, 18),
        (Features::SMAP, ebx7, 20),
        (Features::UMIP, ecx7, 2),
        (Features::NO_EXECUTE, edx_extended, 20),
        (Features::GIB_PAGES, edx_extended, 26),
        (Features::TSC_AUX, edx_extended, 27),
    ];
    let features = table.iter().filter(|(_, register, bit)| register >> bit & 1 != 0);
    FEATURES.store(
        features.fold(0, |set, (feature, ..)| set | feature.0),
        Ordering::Relaxed,
    );
}

/// The name of a feature that the kernel cannot do without and the processor lacks.
pub(crate) fn missing() -> Option<&'static str> {
    let needed = [(Features::XSAVE, "XSAVE"), (Features::NO_EXECUTE, "NX")];
    needed
        .iter()
        .find(|(feature, _)| !feature.present())
        .map(|(_, name)| *name)
}

/// Switches on this CPU's features: write protection, protection of user pages, floating point with XCR0 =
/// x87, SSE and, where present, AVX.
///
/// # Safety
/// The active tables are the kernel's own.
pub(crate) unsafe fn enable() {
    let optional = [
        (Features::SMEP, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (Features::SMAP, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (Features::UMIP, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        (Features::FS_GS_BASE, Cr4Flags::FSGSBASE),
    ];
    let always = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE;
    let control = optional
        .iter()
        .filter(|(feature, _)| feature.present())
        .fold(always, |all, (_, flag)| all | *flag);
    let components = XCr0Flags::X87 | XCr0Flags::SSE;
    let avx = if Features::AVX.present() {
        XCr0Flags::AVX
    } else {
        XCr0Flags::empty()
    };
    // SAFETY: the kernel maps no user page as its own and touches none, as the protections demand; the
    // features are present; the rest is what long mode and compiled code need.
    unsafe {
        Cr0::write(
            Cr0Flags::PROTECTED_MODE_ENABLE
                | Cr0Flags::MONITOR_COPROCESSOR
                | Cr0Flags::EXTENSION_TYPE
                | Cr0Flags::NUMERIC_ERROR
                | Cr0Flags::WRITE_PROTECT
                | Cr0Flags::ALIGNMENT_MASK
                | Cr0Flags::PAGING,
        );
        Cr4::write(control);
        XCr0::write(components | avx);
    }
}
