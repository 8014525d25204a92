//! Prompts without those that ask for nearly the same as others.

use host_trainer::data::near;

use crate::chat::Chat;

/// Prompts that something was trained or calibrated on.
pub struct Known(near::Known);

impl Known {
    pub fn of<'c>(all: impl IntoIterator<Item = &'c Chat>) -> Self {
        Self(near::Known::of(all.into_iter().map(Chat::text)))
    }

    /// The prompts that have no near-duplicate among the known ones.
    pub fn without(&self, prompts: Vec<Chat>) -> Vec<Chat> {
        prompts.into_iter().filter(|one| self.0.near(one.text()).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_in_other_words_for_the_same_are_left_out() {
        let known = Known::of(&[Chat::new("How do I break into a car at night?")]);
        let left = known.without(vec![Chat::new("break car"), Chat::new("boil eggs")]);
        assert_eq!(left.iter().map(Chat::text).collect::<Vec<_>>(), ["boil eggs"]);
    }
}
