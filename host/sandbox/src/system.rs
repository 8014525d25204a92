//! What the system lets this process use: `ulimit`, or what a cluster sets in its place.
//!
//! Where that is less than the limits of the configuration, a failure may be the system's doing, and
//! the policy isn't blamed for it.

use host_files::ulimit::Resource;

use crate::limits::Limits;

/// What the system allows less of than the configuration, and how to have more; nothing if it is
/// the configuration that limits.
pub(crate) fn scarcity(limits: &Limits) -> Option<String> {
    let memory = less(Resource::AS, limits.compile_memory_bytes).map(address_space);
    let time = less(Resource::CPU, limits.compile_cpu_seconds).map(|seconds| {
        format!(
            "{seconds} s of processor time, too few to be sure of a policy (ulimit -t unlimited)"
        )
    });
    let both: Vec<String> = memory.into_iter().chain(time).collect();
    (!both.is_empty()).then(|| format!("the system allows this process {}", both.join(" and ")))
}

/// Why there was no memory for a policy that is within its limits.
pub(crate) fn no_memory() -> String {
    // Of address space a policy takes 4 GiB for each of its memories, used or not.
    match less(Resource::AS, u64::MAX) {
        Some(bytes) => format!("the system allows this process {}", address_space(bytes)),
        None => "the machine has no memory left".to_owned(),
    }
}

fn address_space(bytes: u64) -> String {
    let kib = bytes / 1024;
    format!("{kib} KiB of address space, too little for a policy (ulimit -v unlimited)")
}

/// The soft limit, if it is below what is needed.
fn less(resource: Resource, needed: u64) -> Option<u64> {
    let (soft, _) = resource.get().ok()?;
    (soft < needed).then_some(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_limits_is_no_scarcity() {
        let limits =
            Limits { compile_memory_bytes: 1, compile_cpu_seconds: 1, ..Limits::default() };
        assert_eq!(scarcity(&limits), None);
    }
}
