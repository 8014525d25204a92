//! The matrix registers of x86-64 (AMX): eight of sixteen rows of 64 bytes, a product of bf16 pairs of two
//! of them added to a third. By inline assembly, since Rust's intrinsics are not stable; see Intel's Software Developer's
//! Manual, volume 1, chapter "Programming with Intel AMX".

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use super::operands::{COLS, SIDE, TALL};

#[cfg(all(test, target_os = "linux"))]
pub mod emulated;

/// Whether the processor has them, and the kernel lets this process use them.
pub fn is_usable() -> bool {
    has_instructions() && is_permitted()
}

fn has_instructions() -> bool {
    const TILE: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    const OSXSAVE: u32 = 1 << 27;
    /// Configuration and data of the tiles are saved when threads change.
    const SAVED: u64 = 0b11 << 17;

    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: the caller saw OSXSAVE.
        unsafe { std::arch::x86_64::_xgetbv(0) }
    }

    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let has = __cpuid_count(7, 0).edx;
    // SAFETY: OSXSAVE says that the instruction is there.
    has & TILE != 0 && has & BF16 != 0 && unsafe { saved() } & SAVED == SAVED
}

/// Asks the kernel, once for all threads: their state is large, so it is not given unasked.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let answer: i64;
    // SAFETY: a system call that takes two numbers and writes nothing.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What every tile looks like.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = {
    let mut shapes =
        Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        shapes.row_bytes[tile] = 64;
        shapes.rows[tile] = SIDE as u8;
        tile += 1;
    }
    shapes
};

/// Sets up the tiles of this thread; they were found.
pub fn set_up() {
    // SAFETY: the instruction reads 64 bytes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
}

/// Gives them back, so that a change of threads has less to save.
pub fn release() {
    // SAFETY: nothing of this thread is in the tiles.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Bytes from one line of a panel, or of the sums, to the next.
const LINE: usize = 4 * COLS;

/// Adds to the sums the product of TALL rows on the left and a panel of `steps` times SIDE pairs.
///
/// # Safety
/// The tiles are there and set up; the left side has that many rows, `stride` words apart, with
/// `steps` times SIDE words, and the right one as many lines of COLS words.
pub unsafe fn add(
    (left, stride): (*const u32, usize),
    right: *const u32,
    steps: usize,
    sums: &mut [f32; TALL * COLS],
) {
    const { assert!(COLS == 2 * SIDE && TALL == 2 * SIDE && LINE == 128) };
    // SAFETY: as the caller promises.
    unsafe {
        let lower = left.add(SIDE * stride);
        asm!(
            "tileloadd tmm0, [{c} + {line}*1]",
            "tileloadd tmm1, [{c} + {line}*1 + 64]",
            "tileloadd tmm2, [{c} + {line}*1 + 2048]",
            "tileloadd tmm3, [{c} + {line}*1 + 2112]",
            "2:",
            "tileloadd tmm4, [{a} + {stride}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 64",
            "add {lower}, 64",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{c} + {line}*1], tmm0",
            "tilestored [{c} + {line}*1 + 64], tmm1",
            "tilestored [{c} + {line}*1 + 2048], tmm2",
            "tilestored [{c} + {line}*1 + 2112], tmm3",
            a = inout(reg) left => _,
            lower = inout(reg) lower => _,
            b = inout(reg) right => _,
            steps = inout(reg) steps => _,
            c = in(reg) sums.as_mut_ptr(),
            line = in(reg) LINE,
            stride = in(reg) 4 * stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
