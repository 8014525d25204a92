//! The layers on Linux.

use std::collections::BTreeMap;

use caps::CapSet;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, LandlockStatus, Ruleset,
    RulesetAttr as _, RulesetError, RulesetStatus, Scope,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Task;

/// The newest version of Landlock whose rights were reviewed here; older kernels enforce fewer.
const REVIEWED: ABI = ABI::V6;

/// Root is no more than anyone else. That nothing is gained by starting a program comes with
/// each of the layers below.
pub(super) fn drop_privileges() -> Result<(), String> {
    // What isn't in the bounding set can't come back; emptying that set is itself a privilege.
    let bound = caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP);
    bound
        .and_then(|may| if may { caps::clear(None, CapSet::Bounding) } else { Ok(()) })
        .and_then(|()| caps::clear(None, CapSet::Inheritable))
        .and_then(|()| caps::clear(None, CapSet::Effective))
        .and_then(|()| caps::clear(None, CapSet::Permitted))
        .map_err(|e| e.to_string())
}

/// No file, no TCP, no abstract socket, no signal to the outside.
pub(super) fn landlock() -> Result<(), String> {
    let rules = || -> Result<_, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(REVIEWED))?
            .handle_access(AccessNet::from_all(REVIEWED))?
            .scope(Scope::from_all(REVIEWED))?
            .create()?
            .restrict_self()
    };
    let status = rules().map_err(|e| e.to_string())?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Ok(()),
        (_, LandlockStatus::NotImplemented) => Err("this kernel is built without it".into()),
        (_, LandlockStatus::NotEnabled) => Err("this kernel has it switched off".into()),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            Err(format!("this kernel's version {} enforces a part of it", effective_abi as i32))
        }
        (RulesetStatus::NotEnforced, LandlockStatus::Available { .. }) => {
            Err("this kernel doesn't enforce it".into())
        }
    }
}

/// Only the calls of the task, with the arguments it needs; others fail.
pub(super) fn seccomp(task: Task, inherited: &[u64]) -> Result<(), String> {
    let filters = filters(task, inherited).map_err(|e| e.to_string())?;
    filters.iter().try_for_each(|filter| apply_filter(filter)).map_err(|e| match e {
        seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => e.to_string(),
        other => other.to_string(),
    })
}

/// The filters in the order in which they are applied.
fn filters(task: Task, inherited: &[u64]) -> Result<[BpfProgram; 2], BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // Its arguments lie in memory, where no filter can see them. Where it doesn't exist the C
    // library falls back on `clone`.
    let hide = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?;
    let allow = SeccompFilter::new(
        allowed(task, inherited)?,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )?;
    // The stricter answer of the two counts.
    Ok([hide.try_into()?, allow.try_into()?])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are allowed, each with the arguments under which it is.
fn allowed(task: Task, inherited: &[u64]) -> Result<Rules, BackendError> {
    let plain = [
        // Memory.
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        // Threads, and waiting for them.
        libc::SYS_clone3,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_membarrier,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // Signals to itself.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        // What tells nothing that the processor doesn't tell anyway.
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_gettimeofday,
        libc::SYS_getcpu,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getrandom,
    ];
    let mut rules: Rules = plain.into_iter().map(|call| (call, Vec::new())).collect();
    let mut only = |call, when: Vec<SeccompRule>| rules.insert(call, when);
    // The pipes to the host, whatever else was inherited.
    only(libc::SYS_read, vec![all(&[argument(0, SeccompCmpOp::Eq, 0)?])?]);
    let to = |fd| all(&[argument(0, SeccompCmpOp::Eq, fd)?]);
    only(libc::SYS_writev, vec![to(1)?, to(2)?]);
    let mut write = vec![to(1)?, to(2)?];
    // Memory of its own; never a file's, and never executable in one step.
    let exec = libc::PROT_EXEC as u64;
    let anonymous = libc::MAP_ANONYMOUS as u64;
    let data = argument(2, SeccompCmpOp::MaskedEq(exec), 0)?;
    let own = argument(3, SeccompCmpOp::MaskedEq(anonymous), anonymous)?;
    let mut map = vec![all(&[data.clone(), own])?];
    let mut protect = vec![all(std::slice::from_ref(&data))?];
    if task == Task::Run {
        // Code is never writable.
        let writable = exec | libc::PROT_WRITE as u64;
        protect.push(all(&[argument(2, SeccompCmpOp::MaskedEq(writable), exec)?])?);
        // The first memory of a policy is a file without a name, made once and mapped in each
        // call; without it a call would take more fuel than in the host.
        write.push(all(&image(inherited, 0)?)?);
        let mut mapped = image(inherited, 4)?;
        let private = libc::MAP_PRIVATE as u64;
        mapped.extend([data, argument(3, SeccompCmpOp::MaskedEq(private), private)?]);
        map.push(all(&mapped)?);
        only(libc::SYS_memfd_create, Vec::new());
        let seal = libc::F_ADD_SEALS as u64;
        only(libc::SYS_fcntl, vec![all(&[argument(1, SeccompCmpOp::Eq, seal)?])?]);
    }
    only(libc::SYS_write, write);
    only(libc::SYS_mmap, map);
    only(libc::SYS_mprotect, protect);
    // Threads, no processes.
    let thread = libc::CLONE_THREAD as u64;
    only(libc::SYS_clone, vec![all(&[argument(0, SeccompCmpOp::MaskedEq(thread), thread)?])?]);
    // It may end itself, and no one else.
    let own = u64::from(std::process::id());
    only(libc::SYS_tgkill, vec![all(&[argument(0, SeccompCmpOp::Eq, own)?])?]);
    // Its threads have names; it may look at its limits and not set them.
    let name = libc::PR_SET_NAME as u64;
    let mut set = vec![all(&[argument(0, SeccompCmpOp::Eq, name)?])?];
    if task == Task::Run {
        // A filter can only forbid more, as `close` does.
        let closer = libc::PR_SET_NO_NEW_PRIVS as u64;
        set.push(all(&[argument(0, SeccompCmpOp::Eq, closer)?])?);
        only(libc::SYS_seccomp, Vec::new());
    }
    only(libc::SYS_prctl, set);
    let unset = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    only(libc::SYS_prlimit64, vec![all(&[argument(0, SeccompCmpOp::Eq, 0)?, unset])?]);
    Ok(rules)
}

/// Conditions on an argument under which it is a file that was made since, and none that the
/// worker inherited.
fn image(inherited: &[u64], index: u8) -> Result<Vec<SeccompCondition>, BackendError> {
    let mut conditions = vec![
        argument(index, SeccompCmpOp::Gt, 2)?,
        // No file at all.
        argument(index, SeccompCmpOp::Le, i32::MAX as u64)?,
    ];
    for number in inherited {
        conditions.push(argument(index, SeccompCmpOp::Ne, *number)?);
    }
    Ok(conditions)
}

/// Files that are open beside the pipes to the host.
pub(super) fn inherited() -> Vec<u64> {
    let numbers = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<_> = numbers.map(|entry| entry.path()).collect();
    // The listing itself is over by now.
    let open = numbers.into_iter().filter(|path| path.read_link().is_ok());
    let open = open.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    open.filter(|number| *number > 2).collect()
}

/// Takes back what only loading a policy needs: from here on no file is made or written.
pub(super) fn close() -> Result<(), String> {
    let filter = || -> Result<BpfProgram, BackendError> {
        let rules = BTreeMap::from([
            (libc::SYS_memfd_create, Vec::new()),
            (libc::SYS_fcntl, Vec::new()),
            (libc::SYS_seccomp, Vec::new()),
            (libc::SYS_write, vec![all(&[argument(0, SeccompCmpOp::Gt, 2)?])?]),
        ]);
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
    };
    let filter = filter().map_err(|e| e.to_string())?;
    apply_filter(&filter).map_err(|e| e.to_string())
}

fn all(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

fn argument(index: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)
}

#[cfg(test)]
mod tests;
