//! The five instructions of the matrix registers, as Intel's manual (volume 2) defines them, for tests on processors
//! without: there each is an illegal instruction, and the handler of that signal does what it
//! would have done. Subnormal values are kept, which the registers take for zeros.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::Once;

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use crate::operands::SIDE;

type Register = [[u32; SIDE]; SIDE];

thread_local! {
    /// The registers of this thread, while they are set up.
    static REGISTERS: RefCell<Option<Box<[Register; 8]>>> = const { RefCell::new(None) };
}

/// From here on the process has the instructions.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all of the action is set; the handler touches what the faulting instruction would.
        let answer = unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = illegal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut())
        };
        assert_eq!(answer, 0);
    });
}

extern "C" fn illegal(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives the context of the instruction; the code at it is readable, and what it
    // reads and writes is what the instruction was told to.
    unsafe {
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize];
        match Instruction::at(at as *const u8, registers).execute() {
            Some(length) => registers[libc::REG_RIP as usize] = at + length,
            // Another illegal instruction ends the process, as without the handler.
            None => libc::abort(),
        }
    }
}

/// An instruction with a prefix of three bytes.
struct Instruction {
    /// Prefixes that it stands for, its opcode, and its ModRM byte.
    code: (u8, u8, u8),
    /// The register that it names beside the two of ModRM.
    third: usize,
    /// Where its memory begins.
    address: usize,
    /// Bytes from one row to the next.
    stride: usize,
    length: i64,
}

/// Numbers of the general registers, as instructions count them.
const GENERAL: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

impl Instruction {
    /// # Safety
    /// There is an instruction.
    unsafe fn at(code: *const u8, general: &[i64]) -> Self {
        // SAFETY: an instruction with this prefix has as many bytes as are read.
        let byte = |i: usize| unsafe { *code.add(i) };
        // Map 0F38 and no wide operand.
        let is_vex = byte(0) == 0xc4 && byte(1) & 0x1f == 2 && byte(2) & 0x84 == 0;
        let (prefix, opcode, modrm) =
            if is_vex { (byte(2) & 3, byte(3), byte(4)) } else { (0, 0, 0) };
        let third = usize::from(!byte(2) >> 3 & 15);
        let mut one =
            Self { code: (prefix, opcode, modrm), third, address: 0, stride: 0, length: 5 };
        if !is_vex || modrm >> 6 == 3 {
            return one;
        }
        let value = |number: u8| general[GENERAL[usize::from(number)] as usize] as usize;
        let (extends_index, extends_base) = (!byte(1) >> 6 & 1, !byte(1) >> 5 & 1);
        let mut base = modrm & 7;
        if base == 4 {
            let sib = byte(5);
            base = sib & 7;
            let index = sib >> 3 & 7 | extends_index << 3;
            if index != 4 {
                one.stride = value(index) << (sib >> 6);
            }
            one.length = 6;
        }
        let displaced = code.wrapping_add(one.length as usize);
        // SAFETY: as above.
        let (displacement, size) = unsafe {
            match modrm >> 6 {
                0 => (0, 0),
                1 => (isize::from(*displaced.cast::<i8>()), 1),
                _ => (displaced.cast::<i32>().read_unaligned() as isize, 4),
            }
        };
        // Those that count from the instruction pointer, or from nothing, are not used.
        if modrm >> 6 == 0 && base == 5 {
            one.code = (0, 0, 0);
        }
        one.address = value(base | extends_base << 3).wrapping_add_signed(displacement);
        one.length += size;
        one
    }

    /// Does it, and says how long it is; nothing for one that isn't known.
    ///
    /// # Safety
    /// Its memory may be used as it uses it.
    unsafe fn execute(&self) -> Option<i64> {
        let (prefix, opcode, modrm) = self.code;
        let (first, second) = (usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
        let is_register = modrm >> 6 == 3;
        let row = |row: usize| (self.address + row * self.stride) as *mut [u32; SIDE];
        REGISTERS.with_borrow_mut(|registers| {
            match (prefix, opcode, is_register) {
                // ldtilecfg: the shape that all have here, and no other.
                (0, 0x49, false) => {
                    // SAFETY: 64 bytes.
                    let shapes = unsafe { *(self.address as *const [u8; 64]) };
                    let bytes = shapes[16..32].chunks(2).all(|two| two == [64, 0]);
                    let rows = shapes[48..56].iter().all(|rows| usize::from(*rows) == SIDE);
                    let rest = shapes[2..16].iter().all(|zero| *zero == 0);
                    if shapes[..2] != [1, 0] || !bytes || !rows || !rest {
                        return None;
                    }
                    *registers = Some(Box::new([[[0; SIDE]; SIDE]; 8]));
                }
                // tilerelease
                (0, 0x49, true) => *registers = None,
                // tileloadd
                (3, 0x4b, false) => {
                    for (i, line) in registers.as_mut()?[first].iter_mut().enumerate() {
                        // SAFETY: as the caller promises.
                        *line = unsafe { row(i).read_unaligned() };
                    }
                }
                // tilestored
                (2, 0x4b, false) => {
                    for (i, line) in registers.as_ref()?[first].iter().enumerate() {
                        // SAFETY: as the caller promises.
                        unsafe { row(i).write_unaligned(*line) };
                    }
                }
                // tdpbf16ps
                (2, 0x5c, true) => {
                    let registers = registers.as_mut()?;
                    let (left, right) = (registers[second], registers[self.third]);
                    multiply(&mut registers[first], &left, &right);
                }
                _ => return None,
            }
            Some(self.length)
        })
    }
}

/// For every row and column the sums of the lower and of the upper halves' products, each fused, added
/// to what is there.
fn multiply(into: &mut Register, left: &Register, right: &Register) {
    let low = |word: u32| f32::from_bits(word << 16);
    let high = |word: u32| f32::from_bits(word & 0xffff_0000);
    for (into, left) in into.iter_mut().zip(left) {
        let mut sums = [[0f32; 2]; SIDE];
        for (left, right) in left.iter().zip(right) {
            for (sums, right) in sums.iter_mut().zip(right) {
                sums[0] = low(*left).mul_add(low(*right), sums[0]);
                sums[1] = high(*left).mul_add(high(*right), sums[1]);
            }
        }
        for (into, [low, high]) in into.iter_mut().zip(sums) {
            *into = (f32::from_bits(*into) + (low + high)).to_bits();
        }
    }
}
