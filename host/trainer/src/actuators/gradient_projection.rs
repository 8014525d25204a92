//! The gradient of a step's task samples against that of its alignment samples.

use host_contract::GradientConflict;

/// Norms and inner product, in f64 and in a fixed order. None if one of the two is zero or
/// not finite: then there is nothing to compare.
pub fn measure(task: &[f32], alignment: &[f32]) -> Option<GradientConflict> {
    let dot = |one: &[f32], other: &[f32]| -> f64 {
        let products = one.iter().zip(other);
        products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let conflict = GradientConflict {
        task_norm: dot(task, task).sqrt(),
        alignment_norm: dot(alignment, alignment).sqrt(),
        dot: dot(task, alignment),
    };
    let known = |norm: f64| norm > 0.0 && norm.is_finite();
    (known(conflict.task_norm) && known(conflict.alignment_norm)).then_some(conflict)
}

/// Removes from the task gradient what opposes the alignment gradient: its part along it,
/// if that points the other way (as in SafeGrad).
///
/// ```text
/// if task . alignment < 0:  task -= (task . alignment / |alignment|^2) alignment
/// ```
pub fn project(task: &mut [f32], alignment: &[f32], conflict: &GradientConflict) {
    if conflict.dot >= 0.0 {
        return;
    }
    let share = conflict.dot / (conflict.alignment_norm * conflict.alignment_norm);
    for (task, alignment) in task.iter_mut().zip(alignment) {
        *task = (f64::from(*task) - share * f64::from(*alignment)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projected(task: [f32; 2], alignment: [f32; 2]) -> [f32; 2] {
        let mut task = task;
        let conflict = measure(&task, &alignment).expect("both are there");
        project(&mut task, &alignment, &conflict);
        task
    }

    #[test]
    fn golden_values_of_the_projection() {
        assert_eq!(projected([1.0, -1.0], [0.0, 1.0]), [1.0, 0.0]);
        assert_eq!(projected([1.0, -1.0], [0.0, 10.0]), [1.0, 0.0]);
        assert_eq!(projected([-2.0, 0.0], [1.0, 1.0]), [-1.0, 1.0]);
    }

    #[test]
    fn what_does_not_oppose_stays_as_it_is() {
        assert_eq!(projected([1.0, 1.0], [0.0, 1.0]), [1.0, 1.0]);
        assert_eq!(projected([1.0, 0.0], [0.0, 1.0]), [1.0, 0.0]);
    }

    #[test]
    fn norms_and_inner_product() {
        let conflict = measure(&[3.0, 4.0], &[1.0, -1.0]).expect("both are there");
        assert_eq!((conflict.task_norm, conflict.dot), (5.0, -1.0));
        assert!((conflict.alignment_norm - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_gradient_that_is_not_there_has_no_conflict() {
        for (task, alignment) in [([0.0], [1.0]), ([1.0], [0.0]), ([f32::NAN], [1.0])] {
            assert!(measure(&task, &alignment).is_none());
        }
    }
}
