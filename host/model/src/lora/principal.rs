//! The largest singular values of a matrix, by subspace iteration (Halko, Martinsson, Tropp 2011,
//! arXiv 0909.4061): a few products with the matrix instead of a whole decomposition.

use candle_core::{DType, Device, Result, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Columns beyond twice the rank: values behind the rank are close to those before it.
const MORE: usize = 8;
/// Products with W and its transpose.
const ROUNDS: usize = 6;

/// B0 [out, rank] and A0 [rank, in] whose product is the nearest matrix of that rank to `weight` [out, in] f32:
/// B0 = U sqrt(S), A0 = sqrt(S) V^T.
pub(super) fn factors(
    weight: &Tensor,
    rank: usize,
    random: &mut ChaCha8Rng,
) -> Result<(Tensor, Tensor)> {
    let (rows, cols) = weight.dims2()?;
    let device = weight.device();
    let width = (2 * rank + MORE).min(rows).min(cols);
    let start: Vec<f32> = (0..cols * width).map(|_| random.random_range(-1.0..1.0)).collect();
    let transposed = weight.t()?;
    let mut span =
        orthonormal(&weight.matmul(&Tensor::from_vec(start, (cols, width), device)?)?)?;
    for _ in 0..ROUNDS {
        span = orthonormal(&weight.matmul(&transposed.matmul(&span)?)?)?;
    }
    // Q^T W has the singular values of W within the span, its left vectors those of its square.
    let inner = span.t()?.matmul(weight)?;
    let (values, vectors) = eigen(columns(&gram(&inner)?)?);
    let roots: Vec<f64> = values[..rank].iter().map(|value| value.max(0.0).sqrt().sqrt()).collect();
    let left = |scale: &dyn Fn(usize) -> f64| -> Result<Tensor> {
        let of = |row: usize| (0..rank).map(move |column| (row, column));
        let values = (0..width).flat_map(of);
        let values = values.map(|(row, column)| (vectors[column][row] * scale(column)) as f32);
        Tensor::from_vec(values.collect(), (width, rank), device)
    };
    let inverse = |column: usize| if roots[column] > 0.0 { 1.0 / roots[column] } else { 0.0 };
    let b = span.matmul(&left(&|column| roots[column])?)?;
    let a = left(&inverse)?.t()?.matmul(&inner)?;
    Ok((b, a))
}

/// x x^T in double precision.
fn gram(x: &Tensor) -> Result<Tensor> {
    let x = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    x.matmul(&x.t()?)
}

fn columns(x: &Tensor) -> Result<Vec<Vec<f64>>> {
    x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.t()?.contiguous()?.to_vec2()
}

/// The columns made orthonormal (Gram-Schmidt, twice). One that depends on those before becomes zero.
fn orthonormal(x: &Tensor) -> Result<Tensor> {
    let mut columns = columns(x)?;
    for at in 0..columns.len() {
        let (before, rest) = columns.split_at_mut(at);
        let column = &mut rest[0];
        let length = dot(column, column).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let shared = dot(other, column);
                column.iter_mut().zip(other).for_each(|(x, y)| *x -= shared * y);
            }
        }
        let left = dot(column, column).sqrt();
        let scale = if left > length * 1e-10 { 1.0 / left } else { 0.0 };
        column.iter_mut().for_each(|x| *x *= scale);
    }
    let values: Vec<f32> = columns.iter().flatten().map(|x| *x as f32).collect();
    let (width, rows) = (columns.len(), x.dims()[0]);
    Tensor::from_vec(values, (width, rows), &Device::Cpu)?.t()?.contiguous()?.to_device(x.device())
}

/// Several sums side by side, in one order.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    const SUMS: usize = 8;
    let mut sums = [0.0; SUMS];
    let (pieces, others) = (x.chunks_exact(SUMS), y.chunks_exact(SUMS));
    let rest = pieces.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in pieces.zip(others) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f64>() + rest
}

/// Eigenvalues of a small symmetric matrix, largest first, each with its vector (cyclic Jacobi).
fn eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    // Rows are the vectors.
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|col| f64::from(row == col)).collect()).collect();
    let whole: f64 = matrix.iter().flatten().map(|x| x * x).sum();
    for _ in 0..30 {
        let off = |row: usize, col: usize| if row < col { matrix[row][col].powi(2) } else { 0.0 };
        let apart: f64 = (0..size)
            .flat_map(|row| (0..size).map(move |col| (row, col)))
            .map(|(r, c)| off(r, c))
            .sum();
        if apart <= whole * 1e-28 {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut matrix {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                rotate(&mut matrix, (p, q), (c, s));
                rotate(&mut vectors, (p, q), (c, s));
            }
        }
    }
    let mut found: Vec<(f64, Vec<f64>)> =
        vectors.into_iter().enumerate().map(|(at, vector)| (matrix[at][at], vector)).collect();
    found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    found.into_iter().unzip()
}

/// Rows p and q turned.
fn rotate(rows: &mut [Vec<f64>], (p, q): (usize, usize), (c, s): (f64, f64)) {
    let (before, behind) = rows.split_at_mut(q);
    for (x, y) in before[p].iter_mut().zip(&mut behind[0]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn random(rows: usize, cols: usize, seed: u64) -> Tensor {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..rows * cols).map(|_| dice.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, (rows, cols), &Device::Cpu).expect("shaped")
    }

    fn square(x: &Tensor) -> f64 {
        let sum = x.sqr().and_then(|x| x.sum_all()).and_then(|x| x.to_scalar::<f32>());
        f64::from(sum.expect("a number"))
    }

    /// U diag(9, 5, 2, 1/2 ...) V^T with known vectors.
    #[test]
    fn finds_known_singular_values_in_both_orientations() {
        for (rows, cols) in [(40, 24), (24, 40)] {
            let basis = |size, seed| orthonormal(&random(size, 24, seed)).expect("a basis");
            let (u, v) = (basis(rows, 1), basis(cols, 2));
            let sizes: Vec<f32> = (0..24).map(|at| 9.0 * 0.6f32.powi(at)).collect();
            let sizes = Tensor::from_vec(sizes, (1, 24), &Device::Cpu).expect("sizes");
            let scaled = u.broadcast_mul(&sizes).expect("scaled");
            let weight = scaled.matmul(&v.t().expect("V^T")).expect("product");
            let mut dice = ChaCha8Rng::seed_from_u64(3);
            let (b, a) = factors(&weight, 4, &mut dice).expect("found");
            // Balanced: the squares of the columns of B and of the rows of A are the singular values.
            for at in 0..4 {
                let expected = 9.0 * 0.6f64.powi(at as i32);
                let of_b = square(&b.narrow(1, at, 1).expect("a column"));
                let of_a = square(&a.narrow(0, at, 1).expect("a row"));
                assert!((of_b - expected).abs() < 1e-3, "{of_b} {expected}");
                assert!((of_a - expected).abs() < 1e-3, "{of_a} {expected}");
            }
            // What is left are the other values.
            let left = square(&(weight - b.matmul(&a).expect("product")).expect("left"));
            let expected: f64 = (4..24).map(|at| (9.0 * 0.6f64.powi(at)).powi(2)).sum();
            assert!((left / expected - 1.0).abs() < 1e-3, "{left} {expected}");
        }
    }

    #[test]
    fn a_matrix_of_lower_rank_gives_zeros_and_nothing_that_is_no_number() {
        let weight = random(20, 2, 1).matmul(&random(2, 30, 2)).expect("rank 2");
        let (b, a) = factors(&weight, 6, &mut ChaCha8Rng::seed_from_u64(3)).expect("found");
        let left = square(&(&weight - b.matmul(&a).expect("product")).expect("left"));
        assert!(left < 1e-6 * square(&weight), "{left}");
        let nothing = Tensor::zeros((8, 8), DType::F32, &Device::Cpu).expect("zeros");
        let (b, a) = factors(&nothing, 2, &mut ChaCha8Rng::seed_from_u64(3)).expect("found");
        assert_eq!(square(&b) + square(&a), 0.0);
    }
}
