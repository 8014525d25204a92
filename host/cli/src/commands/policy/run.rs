use host_policy::cases::{Case, pretty};
use host_policy::{Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;

use super::test::case_error;
use crate::arguments::RunArguments;
use crate::commands::{engine, print_text};

pub fn run(arguments: &RunArguments) -> anyhow::Result<Ending> {
    let case = Case::read(&arguments.case).map_err(case_error)?;
    let policy = Policy::load(&engine(&Limits::default())?, &arguments.file);
    let policy = policy.map_err(Error::from)?;
    let answered = case.call(&policy).map_err(case_error)?;
    print_text(pretty(&answered.answer).trim_end())?;
    match answered.cost {
        Some(cost) => eprintln!(
            "{} fuel, {} bytes of memory, {:.3} ms",
            cost.fuel,
            cost.memory_bytes,
            cost.time.as_secs_f64() * 1000.0
        ),
        None => eprintln!("the policy refused"),
    }
    Ok(Ending::Finished)
}
