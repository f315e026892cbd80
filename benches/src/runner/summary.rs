//! Many windows in a few numbers.

use std::fmt;

/// The middle of a series, its middle half, and its ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) quartiles: [f64; 2],
    pub(crate) ends: [f64; 2],
}

impl Summary {
    /// Of a series that is not empty.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let place = quantile * (sorted.len() - 1) as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            let above = (below + 1).min(sorted.len() - 1);
            sorted[below] + (sorted[above] - sorted[below]) * part
        };
        Self { median: at(0.5), quartiles: [at(0.25), at(0.75)], ends: [at(0.0), at(1.0)] }
    }

    /// Of the ratios of two series, pair by pair: what drifts from round to round falls out.
    pub(crate) fn of_ratios(values: &[f64], to: &[f64]) -> Self {
        Self::of(values.iter().zip(to).map(|(value, to)| value / to))
    }

    /// Half the width of the middle half.
    pub(crate) fn spread(&self) -> f64 {
        (self.quartiles[1] - self.quartiles[0]) / 2.0
    }
}

impl fmt::Display for Summary {
    /// A ratio: median, middle half, and in brackets the ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, quartiles: [low, high], ends: [min, max] } = self;
        write!(f, "{median:.3} | {low:.3}..{high:.3} ({min:.2}..{max:.2})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_its_own_spread() {
        let one = Summary::of([2.0]);
        assert_eq!(one, Summary { median: 2.0, quartiles: [2.0; 2], ends: [2.0; 2] });
    }

    #[test]
    fn an_outlier_moves_the_ends_alone() {
        let five = Summary::of([1.0, 1.0, 9.0, 1.0, 1.0]);
        assert_eq!(five, Summary { median: 1.0, quartiles: [1.0; 2], ends: [1.0, 9.0] });
    }

    #[test]
    fn drift_falls_out_of_paired_ratios() {
        assert_eq!(Summary::of_ratios(&[2.0, 4.0, 8.0], &[1.0, 2.0, 4.0]).ends, [2.0, 2.0]);
    }
}
