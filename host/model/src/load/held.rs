//! How the matrices of a model are held in memory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::matrix::{BlockFormat, Matrix};
use crate::weights::Weights;

/// How the matrices of a model are held in memory, whatever its files have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Held {
    /// Every value in the type that is computed in.
    #[default]
    Dense,
    /// Quantized matrices of a GGUF file stay in its blocks.
    Stored,
    /// Rounded to blocks of a format while they are loaded; the embedding and the head to Q8_0.
    Blocks(BlockFormat),
}

/// `outside` of the layers, where a little error costs the most, the values keep eight bits.
fn wanted(format: BlockFormat, outside: bool) -> BlockFormat {
    if outside { BlockFormat::Q8_0 } else { format }
}

impl Held {
    /// A matrix as it is to be held. `outside` of the layers are the embedding and the head.
    pub(super) fn hold(self, matrix: Matrix, outside: bool) -> Result<Matrix> {
        let Self::Blocks(format) = self else {
            return Ok(matrix);
        };
        let wanted = wanted(format, outside);
        let (_, input) = matrix.dims2()?;
        let fits = [wanted, BlockFormat::Q8_0].into_iter().find(|one| input % one.values() == 0);
        Ok(match fits {
            Some(format) => matrix.quantize(format)?,
            None => matrix,
        })
    }

    /// What is held otherwise than it was asked for.
    ///
    /// # Errors
    /// [`Error::File`] if nothing is held as it was asked for.
    pub(super) fn tell(
        self,
        weights: &Weights,
        path: &Path,
        notices: &mut Vec<String>,
    ) -> Result<()> {
        let mut others = BTreeMap::new();
        let (mut kept, mut all) = (0, 0);
        let outside = 1 + usize::from(weights.head.is_some());
        for (index, matrix) in weights.matrices().enumerate() {
            all += 1;
            match (self, matrix.format()) {
                (Self::Dense, _) | (Self::Stored, Some(_)) => kept += 1,
                (Self::Blocks(format), Some(found)) if found == wanted(format, index < outside) => {
                    kept += 1;
                }
                (_, Some(found)) => *others.entry(format!("{found:?}")).or_insert(0) += 1,
                (_, None) => *others.entry(format!("{:?}", matrix.dtype())).or_insert(0) += 1,
            }
        }
        let nothing = match self {
            Self::Dense => None,
            Self::Stored => (kept == 0).then_some((
                "has no matrix in blocks of Q4_0 to Q6_K that could stay as it is",
                "use another file of the model, such as Q4_K_M, or --weights q8_0",
            )),
            Self::Blocks(format) => (!weights.matrices().any(|one| one.format() == Some(format)))
                .then_some((
                    "has no matrix whose lines are made of whole blocks of this format",
                    match format {
                        BlockFormat::Q8_0 => "use --weights dense",
                        _ => "use --weights q8_0 or dense",
                    },
                )),
        };
        if let Some((problem, action)) = nothing {
            return Err(Error::file(path, problem, action));
        }
        let others: Vec<String> =
            others.into_iter().map(|(name, count)| format!("{count} as {name}")).collect();
        if !others.is_empty() {
            notices.push(format!(
                "{}: {kept} of {all} matrices are held in blocks as --weights says, {}",
                path.display(),
                others.join(", ")
            ));
        }
        Ok(())
    }
}
