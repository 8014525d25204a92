use host_data::Failure;

use super::*;

#[test]
fn values_come_together_in_order_and_sums_are_the_same_everywhere() {
    let results = threads::run(3, |ranks| {
        let rank = ranks.rank();
        let gathered = ranks.gather(vec![rank as f32; rank])?;
        // 1e8 + 1 - 1e8 depends on the order.
        let mut sum = [[1e8, 1.0, -1e8][rank], 0.5];
        ranks.sum(&mut sum)?;
        let totals = ranks.totals([rank as f64, 0.25])?;
        let mut spread = [rank as f32 + 0.5; 2];
        ranks.broadcast_values(&mut spread)?;
        assert_eq!(spread, [0.5; 2]);
        ranks.end(Ok((gathered, sum, totals)))
    });
    for (rank, result) in results.into_iter().enumerate() {
        let (gathered, sum, totals) = result.expect("no failure");
        match rank {
            0 => assert_eq!(gathered, [1.0, 2.0, 2.0]),
            _ => assert!(gathered.is_empty()),
        }
        assert_eq!(sum, [(1e8 + 1.0) - 1e8, 1.5]);
        assert_eq!(totals, [3.0, 0.75]);
    }
}

#[test]
fn alone_nothing_changes() {
    let ranks = Ranks::alone();
    assert_eq!((ranks.rank(), ranks.size()), (0, 1));
    assert_eq!(ranks.from_root(|| Ok(7)).expect("led"), 7);
    assert_eq!(ranks.gather(vec![-0.0, 1.0]).expect("kept"), [-0.0, 1.0]);
    let mut values = [f32::MIN_POSITIVE];
    ranks.sum(&mut values).expect("kept");
    assert_eq!(values, [f32::MIN_POSITIVE]);
    assert!(ranks.step_end(1, &values, true).expect("no other"));
    assert!(ranks.end(Err::<(), _>(Error::from(Failure::Interrupted))).is_err());
}

#[test]
fn the_first_does_and_all_get_the_result() {
    let results = threads::run(3, |ranks| {
        let rank = ranks.rank();
        let led = ranks.from_root(|| {
            assert_eq!(rank, 0);
            Ok(vec!["a".to_owned()])
        });
        ranks.end(led)
    });
    assert!(results.iter().all(|led| led.as_ref().is_ok_and(|led| led == &["a"])));
}

#[test]
fn the_others_hear_what_the_first_tells_until_it_ends() {
    let results = threads::run(3, |ranks| {
        if ranks.is_root() {
            ranks.broadcast(&"one")?;
            ranks.broadcast_bytes(vec![2; 3])?;
            return ranks.end(Ok(0));
        }
        assert_eq!(ranks.receive::<String>()?.as_deref(), Some("one"));
        assert_eq!(ranks.receive_bytes()?, Some(vec![2; 3]));
        assert_eq!(ranks.receive::<String>()?, None);
        ranks.end(Ok(1))
    });
    assert!(results.iter().all(Result::is_ok));
}

#[test]
fn ranks_that_come_for_different_things_end_instead_of_waiting() {
    let results = threads::run(2, |ranks| {
        let result = match ranks.rank() {
            0 => ranks.sum(&mut [1.0]),
            _ => ranks.gather(vec![]).map(drop),
        };
        ranks.end(result)
    });
    for result in results {
        let error = result.expect_err("out of order").to_string();
        assert!(error.contains("the order of work on rank 1"), "{error}");
    }
}

#[test]
fn a_rank_that_leaves_without_a_word_ends_all() {
    let aborted = threads::run(1, |ranks| {
        let leave = std::panic::AssertUnwindSafe(|| drop(ranks));
        std::panic::catch_unwind(leave).is_err()
    });
    assert_eq!(aborted, [true]);
    let quiet = threads::run(1, |ranks| ranks.end(Ok(())).is_ok());
    assert_eq!(quiet, [true]);
}

/// Wherever the others are when one fails, they end with its message.
#[test]
fn one_failure_ends_all_and_is_told_once() {
    let wrong = |what: &str| Error::config("train.batch", what.to_owned());
    let results = threads::run(4, |ranks| {
        let rank = ranks.rank();
        let work = || match rank {
            0 => ranks.from_root(|| Ok(1)),
            1 => ranks.gather(vec![]).map(|_| 1),
            2 => Err(wrong("is odd")),
            _ => ranks.step_end(0, &[], false).map(|_| 1),
        };
        let result = work();
        ranks.end(result)
    });
    for (rank, result) in results.into_iter().enumerate() {
        let error = result.expect_err("failed");
        let message = "configuration: train.batch: is odd";
        assert_eq!(error.kind(), Kind::Usage);
        match rank {
            2 => assert_eq!(error.to_string(), message),
            _ => assert_eq!(error.to_string(), format!("rank 2: {message}")),
        }
    }
}

#[test]
fn a_failure_behind_the_work_of_the_others_reaches_them_at_the_end() {
    let results = threads::run(2, |ranks| match ranks.rank() {
        0 => ranks.end(Err(Error::from(Failure::Interrupted))),
        _ => ranks.end(Ok(())),
    });
    assert!(matches!(results[0], Err(Error::Failure(Failure::Interrupted))));
    assert!(results[1].as_ref().is_err_and(|error| error.kind() == Kind::Interrupted));
}

#[test]
fn of_two_failures_the_first_rank_tells_one() {
    let results = threads::run(3, |ranks| {
        let problem = format!("of rank {}", ranks.rank());
        match ranks.rank() {
            0 => ranks.totals([0.0]).and_then(|_| ranks.end(Ok(()))),
            _ => ranks.end(Err(Error::config("x", problem))),
        }
    });
    let told = |rank: usize| results[rank].as_ref().expect_err("failed").to_string();
    assert_eq!(told(0), "rank 1: configuration: x: of rank 1");
}

#[test]
fn other_parameters_name_the_step_and_the_rank() {
    let results = threads::run(3, |ranks| {
        let mut parameters = [1.0, 2.0];
        assert!(!ranks.step_end(6, &parameters, false)?);
        assert!(ranks.step_end(7, &parameters, ranks.rank() == 1)?);
        if ranks.rank() == 2 {
            parameters[1] = f32::from_bits(parameters[1].to_bits() + 1);
        }
        let last = ranks.step_end(8, &parameters, false);
        ranks.end(last)
    });
    let error = results[0].as_ref().expect_err("differs").to_string();
    assert!(error.starts_with("step 8: rank 2 holds other parameters"), "{error}");
}

#[test]
fn what_must_be_the_same_is_named_if_it_is_not() {
    let results = threads::run(2, |ranks| {
        ranks.agree("the seed", 1)?;
        let model = ranks.agree("the model", ranks.rank() as u64);
        ranks.end(model)
    });
    let error = results[0].as_ref().expect_err("differs").to_string();
    assert!(error.contains("the model") && error.contains("rank 1"), "{error}");
}
