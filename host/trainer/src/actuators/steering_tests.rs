use std::collections::BTreeMap;

use host_model::Steering;

use super::*;
use crate::actuators::vectors::VectorsMessage;

fn steering(layers: &[(usize, &[f32])]) -> Steering {
    let vectors = layers.iter().map(|(layer, v)| (*layer, v.to_vec()));
    Steering::new(vectors.collect::<BTreeMap<_, _>>()).expect("vectors")
}

fn vectors() -> Vectors {
    Vectors {
        vector: steering(&[(3, &[1.0, 1.0])]),
        refusal: steering(&[(3, &[1.0, 0.0])]),
        coefficient: 2.0,
    }
}

#[test]
fn what_is_added_is_scaled_and_projected_as_asked() {
    let asked = |coefficient, project| SteeringState { coefficient, project, reference: false };
    let vectors = vectors();
    let added = |coefficient, project| vectors.added(&asked(coefficient, project)).expect("added");
    assert_eq!(added(2.0, false), Some(steering(&[(3, &[2.0, 2.0])])));
    assert_eq!(added(-3.0, true), Some(steering(&[(3, &[0.0, -3.0])])));
    assert_eq!(added(0.0, false), None);
    assert!(vectors.added(&asked(1e300, false)).is_err());
}

#[test]
fn only_what_is_asked_for_the_reference_teaches() {
    let vectors = vectors();
    let mut steered = ActiveSteering::new(&vectors).expect("made");
    let at_first = steered.in_force();
    assert_eq!((at_first.coefficient, at_first.reference), (2.0, false));
    assert!(steered.teacher().is_none());
    let mut asked = SteeringState { reference: true, ..at_first };
    assert!(steered.put(asked).expect("put"));
    assert!(!steered.put(asked).expect("put"));
    assert_eq!(steered.teacher(), Some(&steering(&[(3, &[2.0, 2.0])])));
    asked.coefficient = 0.0;
    assert!(steered.put(asked).expect("put"));
    assert!(steered.teacher().is_none());
}

#[test]
fn the_ranks_and_a_run_that_goes_on_get_the_same_bits() {
    let vectors = Vectors {
        vector: steering(&[(0, &[0.1, -1e-30]), (7, &[1e30, 3.0])]),
        refusal: steering(&[(0, &[0.3, 0.7]), (7, &[1.0, 1.0])]),
        coefficient: 0.1,
    };
    let told = serde_json::to_string(&vectors.told()).expect("told");
    let heard: VectorsMessage = serde_json::from_str(&told).expect("heard");
    assert_eq!(Vectors::try_from(heard).expect("vectors"), vectors);

    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(Vectors::kept(folder.path(), 0.1).expect("none"), None);
    vectors.save(folder.path(), "model").expect("saved");
    let kept = Vectors::kept(folder.path(), 0.1).expect("kept");
    assert_eq!(kept, Some(vectors.clone()));
    let other = Vectors { refusal: vectors.vector.clone(), ..vectors.clone() };
    assert_ne!(other.digest(), vectors.digest());
}
