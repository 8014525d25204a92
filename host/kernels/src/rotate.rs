//! Rotary position embedding in place, half-split layout.

simd! {
/// Rotates the first 2 * half dimensions of every head of every row.
/// x [rows, heads * size]; cos and sin [rows, half].
pub fn forward(x: &mut [f32], heads: usize, size: usize, cos: &[f32], sin: &[f32], half: usize) {
    apply_rope(x, heads * size, size, cos, sin, half, 1.0);
}
}

simd! {
/// The transpose of `forward`: the same with -sin.
pub fn backward(g: &mut [f32], heads: usize, size: usize, cos: &[f32], sin: &[f32], half: usize) {
    apply_rope(g, heads * size, size, cos, sin, half, -1.0);
}
}

#[inline(always)]
fn apply_rope(
    x: &mut [f32],
    cols: usize,
    size: usize,
    cos: &[f32],
    sin: &[f32],
    half: usize,
    direction: f32,
) {
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    for (row, (cos, sin)) in x.chunks_exact_mut(cols).zip(angles) {
        for head in row.chunks_exact_mut(size) {
            let (first, rest) = head.split_at_mut(half);
            let second = &mut rest[..half];
            for i in 0..half {
                let (a, b) = (first[i], second[i]);
                let s = sin[i] * direction;
                first[i] = a * cos[i] - b * s;
                second[i] = b * cos[i] + a * s;
            }
        }
    }
}
