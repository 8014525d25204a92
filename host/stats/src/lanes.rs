//! Sums in 16 fixed lanes.
//!
//! A sum of floats depends on its order. Here element i always goes to lane
//! i mod 16 and the lanes are always added in the same tree, without fused
//! multiply-add, so a result is the same on every machine; and 16 independent
//! lanes are what a compiler needs to use SIMD.

const LANES: usize = 16;

/// Sum of x[i] * w[i], computed in f64. Elements beyond the shorter are ignored.
pub fn dot(x: &[f32], w: &[f64]) -> f64 {
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (w_chunks, w_rest) = w.as_chunks::<LANES>();
    let mut lanes = [0.0f64; LANES];
    for (a, b) in x_chunks.iter().zip(w_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[lane]) * b[lane];
        }
    }
    for (lane, (a, b)) in x_rest.iter().zip(w_rest).enumerate() {
        lanes[lane] += f64::from(*a) * b;
    }
    sum_lanes(lanes)
}

/// Sum of x[i] * w[i], both f64.
pub fn dot64(x: &[f64], w: &[f64]) -> f64 {
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (w_chunks, w_rest) = w.as_chunks::<LANES>();
    let mut lanes = [0.0f64; LANES];
    for (a, b) in x_chunks.iter().zip(w_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in x_rest.iter().zip(w_rest).enumerate() {
        lanes[lane] += a * b;
    }
    sum_lanes(lanes)
}

/// y[i] += scale * x[i]
pub fn add_scaled(y: &mut [f64], scale: f64, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * f64::from(*x);
    }
}

/// y[i] += scale * x[i], both f64.
pub fn add_scaled64(y: &mut [f64], scale: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

fn sum_lanes(lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    let mut sums = lanes;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_of_every_length_agrees_with_exact_integers() {
        for length in 0..70 {
            let x: Vec<f32> = (0..length).map(|i| (i % 7) as f32 - 3.0).collect();
            let w: Vec<f64> = (0..length).map(|i| f64::from(i % 5) - 2.0).collect();
            let exact: i32 = (0..length).map(|i| (i % 7 - 3) * (i % 5 - 2)).sum();
            assert_eq!(dot(&x, &w), f64::from(exact));
            let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
            assert_eq!(dot64(&x, &w), f64::from(exact));
        }
    }

    #[test]
    fn the_lanes_have_a_fixed_order() {
        // 1 is absorbed by 1e16 unless both stand in the same lane as their opposites.
        let mut x = vec![0.0f64; 32];
        (x[0], x[1], x[16]) = (1e16, 1.0, -1e16);
        assert_eq!(dot64(&x, &[1.0; 32]), 1.0);
        x.swap(1, 16);
        (x[0], x[1], x[16]) = (1e16, -1e16, 1.0);
        assert_eq!(dot64(&x, &[1.0; 32]), 0.0);
    }

    #[test]
    fn add_scaled_adds() {
        let mut y = [1.0, 2.0];
        add_scaled(&mut y, 2.0, &[0.5, -1.0]);
        assert_eq!(y, [2.0, 0.0]);
        add_scaled64(&mut y, -1.0, &[1.0, 1.0]);
        assert_eq!(y, [1.0, -1.0]);
    }
}
