//! From a network's answer to classes.

use crate::session::Answer;

/// The probabilities of classes, of their logits: softmax, in `f64`.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> =
        logits.iter().map(|&logit| (f64::from(logit) - f64::from(largest)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The classes of the `count` largest values, largest first; of equal ones the lower class first,
/// and what is not a number last.
pub fn top_k(values: &[f32], count: usize) -> Vec<usize> {
    let key = |class: usize| if values[class].is_nan() { f32::NEG_INFINITY } else { values[class] };
    let mut classes: Vec<usize> = (0..values.len()).collect();
    classes.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    classes.truncate(count);
    classes
}

/// The classes that an answer holds to be the likeliest, `count` at most, with their probabilities; of
/// features, `None`.
pub fn classify(kind: Answer, answer: &[f32], count: usize) -> Option<Vec<(usize, f64)>> {
    let probabilities = match kind {
        Answer::Logits => softmax(answer),
        Answer::Probabilities => answer.iter().map(|&value| f64::from(value)).collect(),
        Answer::Features => return None,
    };
    Some(top_k(answer, count).into_iter().map(|class| (class, probabilities[class])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_at_any_size() {
        for logits in [vec![0.0], vec![1e30, 0.0, -1e30], vec![-500.0, -501.0]] {
            let sum: f64 = softmax(&logits).iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "{logits:?}: {sum}");
        }
        assert_eq!(softmax(&[3.0, 3.0]), [0.5, 0.5]);
    }

    #[test]
    fn top_orders_ties_and_nan() {
        assert_eq!(top_k(&[1.0, 3.0, f32::NAN, 3.0], 9), [1, 3, 0, 2]);
        assert_eq!(top_k(&[1.0, 2.0], 1), [1]);
    }

    #[test]
    fn probabilities_are_not_softened_twice() {
        let answer = [0.25, 0.75];
        assert_eq!(classify(Answer::Probabilities, &answer, 1), Some(vec![(1, 0.75)]));
        let odds = 0.5_f64.exp();
        let logits = classify(Answer::Logits, &answer, 2).unwrap();
        assert!((logits[0].1 - odds / (odds + 1.0)).abs() < 1e-12, "{logits:?}");
        assert_eq!(classify(Answer::Features, &answer, 2), None);
    }
}
