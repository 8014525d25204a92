//! Operations whose value is computed beside the graph and whose gradient is written
//! by hand. candle's fused kernels have no backward pass, and its composed operations
//! keep every intermediate tensor and a gradient for every constant.

use std::sync::Mutex;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape,
};
use candle_core::{DType, Storage, Tensor};

/// A kind of storage a tensor can lie in: one body of an operation serves them all.
pub(crate) trait StorageKind: BackendStorage {
    fn of(storage: &Storage) -> Result<&Self>;
}

impl StorageKind for CpuStorage {
    fn of(storage: &Storage) -> Result<&Self> {
        match storage {
            Storage::Cpu(storage) => Ok(storage),
            _ => candle_core::bail!("a tensor is not on the CPU, where its operation is"),
        }
    }
}

impl StorageKind for CudaStorage {
    fn of(storage: &Storage) -> Result<&Self> {
        match storage {
            Storage::Cuda(storage) => Ok(storage),
            _ => candle_core::bail!("a tensor is not on the CUDA device of its operation"),
        }
    }
}

/// `value`, a function of `x`, on the graph of `x`. `backward` takes x, the value and
/// the gradient of the value, all off the graph, and gives the gradient of x.
pub(crate) fn unary<B>(x: &Tensor, value: Tensor, backward: B) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    if !x.track_op() {
        return Ok(value);
    }
    x.apply_op1(Unary { value: Value::new(value), backward })
}

/// The same for a function of two tensors.
pub(crate) fn binary<B>(x: &Tensor, y: &Tensor, value: Tensor, backward: B) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)> + Send + Sync + 'static,
{
    if !x.track_op() && !y.track_op() {
        return Ok(value);
    }
    x.apply_op2(y, Binary { value: Value::new(value), backward })
}

/// The same for a function of three tensors.
pub(crate) fn ternary<B>([x, y, z]: [&Tensor; 3], value: Tensor, backward: B) -> Result<Tensor>
where
    B: Fn([&Tensor; 3], &Tensor) -> Result<[Tensor; 3]> + Send + Sync + 'static,
{
    if ![x, y, z].iter().any(|tensor| tensor.track_op()) {
        return Ok(value);
    }
    x.apply_op3(y, z, Ternary { value: Value::new(value), backward })
}

/// Rounded types are computed with in single precision, others in their own.
pub(crate) fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(wide_type(x.dtype()))
}

pub(crate) fn wide_type(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

/// A tensor on its way into an operation's result: the operation must not keep it.
struct Value(Mutex<Option<Tensor>>);

impl Value {
    fn new(tensor: Tensor) -> Self {
        Self(Mutex::new(Some(tensor)))
    }

    fn take<S: StorageKind>(&self) -> Result<(S, Shape)> {
        let held = self.0.lock().ok().and_then(|mut held| held.take());
        let Some(tensor) = held else {
            candle_core::bail!("an operation was applied twice");
        };
        let whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
        let tensor = if whole { tensor } else { tensor.force_contiguous()? };
        let (storage, layout) = tensor.storage_and_layout();
        Ok((S::of(&storage)?.try_clone(layout)?, layout.shape().clone()))
    }
}

struct Unary<B> {
    value: Value,
    backward: B,
}

impl<B> CustomOp1 for Unary<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "unary"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.value.take()
    }

    fn bwd(&self, x: &Tensor, value: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&x.detach(), &value.detach(), g).map(Some)
    }
}

struct Binary<B> {
    value: Value,
    backward: B,
}

impl<B> CustomOp2 for Binary<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)>,
{
    fn name(&self) -> &'static str {
        "binary"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.value.take()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_y) = (self.backward)(&x.detach(), &y.detach(), g)?;
        Ok((x.track_op().then_some(of_x), y.track_op().then_some(of_y)))
    }
}

struct Ternary<B> {
    value: Value,
    backward: B,
}

impl<B> CustomOp3 for Ternary<B>
where
    B: Fn([&Tensor; 3], &Tensor) -> Result<[Tensor; 3]>,
{
    fn name(&self) -> &'static str {
        "ternary"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.value.take()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_x, of_y, of_z] = (self.backward)([&x.detach(), &y.detach(), &z.detach()], g)?;
        let kept = |of: &Tensor, found: Tensor| of.track_op().then_some(found);
        Ok((kept(x, of_x), kept(y, of_y), kept(z, of_z)))
    }
}
