//! The moving average of the parameters.

use host_contract::Ema;

use super::Actuators;

impl Actuators {
    /// Adds the parameters of a step to the average, and trains on with the average if it is
    /// in the path.
    pub fn average(&mut self, ema: &Ema, parameters: &mut [f32]) {
        let decay = ema.decay as f32;
        let average = self.average.get_or_insert_with(|| parameters.to_vec());
        for (average, value) in average.iter_mut().zip(parameters) {
            *average = decay * *average + (1.0 - decay) * *value;
            if ema.in_path {
                *value = *average;
            }
        }
    }

    /// The moving average, if a policy kept one: what is exported then.
    pub fn shadow(&self) -> Option<&[f32]> {
        self.average.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_starts_at_the_parameters_and_follows() {
        let mut actuators = Actuators::default();
        let ema = Ema { decay: 0.9, in_path: false };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((actuators.shadow().expect("kept")[0] - 1.1).abs() < 1e-6);
        assert_eq!(values, [2.0]);
    }

    #[test]
    fn in_path_writes_the_average_back() {
        let mut actuators = Actuators::default();
        let ema = Ema { decay: 0.9, in_path: true };
        actuators.average(&ema, &mut [1.0]);
        let mut values = [2.0];
        actuators.average(&ema, &mut values);
        assert!((values[0] - 1.1).abs() < 1e-6);
    }
}
