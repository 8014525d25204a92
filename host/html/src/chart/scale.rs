//! From numbers to places on paper, and the ticks of an axis.

use super::Axis;

/// A stretch of numbers on a stretch of paper.
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
    places: Vec<String>,
}

impl Scale {
    /// Holds the values of an axis between two places on the paper. With `whole` it ends at ticks.
    pub fn new(
        axis: &Axis,
        values: impl Iterator<Item = f64>,
        whole: bool,
        paper: (f64, f64),
    ) -> Self {
        let (from, to) = paper;
        if !axis.places.is_empty() {
            let high = axis.places.len() as f64 - 0.6;
            return Self { low: -0.4, high, from, to, step: 1.0, places: axis.places.clone() };
        }
        let range = axis.range.map_or([f64::NAN; 2], |(low, high)| [low, high]);
        let (mut low, mut high) = values
            .chain(range)
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < f64::EPSILON * high.abs().max(1e-300) {
            let by = (high.abs() * 0.5).max(0.5);
            (low, high) = (low - by, high + by);
        }
        let step = step(high - low);
        if whole && step.is_finite() && step > 0.0 {
            (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        Self { low, high, from, to, step, places: Vec::new() }
    }

    /// Where a value is; always on the paper.
    pub fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Places and names of the ticks.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        if !self.places.is_empty() {
            let places = self.places.iter().enumerate();
            return places.map(|(i, name)| (self.at(i as f64), name.clone())).collect();
        }
        let step = self.step;
        let first = (self.low / step - 1e-9).ceil();
        let last = (self.high / step + 1e-9).floor();
        if !(step.is_finite() && first.is_finite() && last.is_finite()) || last - first > 50.0 {
            return Vec::new();
        }
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let count = (last - first) as usize;
        let ticks = (0..=count).map(|i| (first + i as f64) * step);
        ticks.map(|value| (self.at(value), label(value, decimals, step))).collect()
    }
}

/// A round distance between ticks, of which five or so are in a range.
fn step(range: f64) -> f64 {
    let power = 10f64.powf((range / 5.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| range / step <= 5.5).unwrap_or(10.0 * power)
}

fn label(value: f64, decimals: usize, step: f64) -> String {
    if value.abs() >= 1e6 || (value != 0.0 && step < 1e-4) {
        return short(&format!("{value:.1e}"));
    }
    // 2.5 between ticks takes one decimal more than its power says.
    let decimals =
        if (step * 10f64.powi(decimals as i32)).fract() > 1e-6 { decimals + 1 } else { decimals };
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        "0".into()
    } else {
        text
    }
}

fn short(text: &str) -> String {
    text.replace(".0e", "e")
}

/// A number with three significant digits or so, in words and tables.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".into()
    } else if !(1e-3..1e5).contains(&size) {
        short(&format!("{value:.2e}"))
    } else {
        let decimals = (2.0 - size.log10().floor()).clamp(0.0, 5.0) as usize;
        format!("{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(low: f64, high: f64) -> Vec<String> {
        let scale = Scale::new(&Axis::default(), [low, high].into_iter(), true, (0.0, 100.0));
        scale.ticks().into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 100.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(ticks(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(0.0, 12.0), ["0", "2.5", "5.0", "7.5", "10.0", "12.5"]);
        assert_eq!(ticks(0.0, 10.83).last().map(String::as_str), Some("12"));
        assert_eq!(ticks(-3.0, 4.0), ["-4", "-2", "0", "2", "4"]);
        assert_eq!(ticks(0.0, 3e-5).last().map(String::as_str), Some("3e-5"));
    }

    #[test]
    fn numbers_without_a_size_give_no_endless_axis() {
        for (low, high) in
            [(0.0, 0.0), (f64::NAN, f64::NAN), (-1e308, 1e308), (5e-324, 5e-324), (1e17, 1e17)]
        {
            assert!(ticks(low, high).len() < 60, "{low} {high}");
            let scale = Scale::new(&Axis::default(), [low, high].into_iter(), true, (0.0, 100.0));
            assert!((0.0..=100.0).contains(&scale.at(low)) || scale.at(low).is_nan());
        }
    }
}
