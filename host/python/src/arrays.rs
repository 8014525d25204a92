//! Arrays of numpy: read in place and copied once, and made from lists of numbers.
//!
//! The buffer protocol is no part of the stable interface of Python 3.10, and the crate of numpy's
//! own interface turns on features of half the crates that the host is made of. So an array is asked
//! for its `__array_interface__`, and only one that numpy itself made is believed.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyDict, PyType};

use crate::errors::SignalError;
use crate::records::kind;

/// float32 in the byte order of this machine, as numpy writes it.
const FLOAT32: &str = if cfg!(target_endian = "little") { "<f4" } else { ">f4" };

/// A length that an array must have, and what it is a length of.
pub type Axis = (usize, &'static str);

/// Copies the values of a C-contiguous float32 array of this shape; `field` is what messages call
/// it.
///
/// # Errors
/// [`SignalError`] for anything else: what it is, and how to make it what it must be.
pub fn floats(given: &Bound<'_, PyAny>, field: &str, axes: &[Axis]) -> PyResult<Vec<f32>> {
    let refuse = |problem: String| SignalError::new_err(format!("{field} {problem}"));
    let array = numpys_own(given, field)?;
    let interface = array.getattr("__array_interface__")?.cast_into::<PyDict>()?;
    let item = |key: &str| {
        let found = interface.get_item(key)?;
        found.ok_or_else(|| refuse(format!("has no {key} in its __array_interface__")))
    };
    if item("typestr")?.extract::<String>()? != FLOAT32 {
        let found = array.getattr("dtype")?;
        return Err(refuse(format!(
            "has the dtype {found}; it must be float32: array.astype(numpy.float32)"
        )));
    }
    let shape = item("shape")?.extract::<Vec<usize>>()?;
    if shape.len() != axes.len() || shape.iter().zip(axes).any(|(found, (must, _))| found != must) {
        let must = axes.iter().map(|(length, _)| *length).collect::<Vec<_>>();
        let names = axes.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        return Err(refuse(format!(
            "has the shape {}; it must be {}: {names}",
            in_words(&shape),
            in_words(&must)
        )));
    }
    // Given only where they are not those of a C-contiguous array.
    if !item("strides")?.is_none() {
        return Err(refuse("isn't C-contiguous: numpy.ascontiguousarray(array)".into()));
    }
    let (address, _) = item("data")?.extract::<(usize, bool)>()?;
    Ok(copy(address, shape.iter().product()))
}

/// An array of numpy's own class; what only looks like one is converted by numpy.
fn numpys_own<'py>(given: &Bound<'py, PyAny>, field: &str) -> PyResult<Bound<'py, PyAny>> {
    static ARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = given.py();
    let array = ARRAY.import(py, "numpy", "ndarray")?;
    if given.is_exact_instance(array) {
        return Ok(given.clone());
    }
    let refuse = |problem: String| SignalError::new_err(format!("{field} {problem}"));
    if let Ok(device) = given.getattr("device")
        && let Ok(device) = device.str()
        && device != "cpu"
    {
        return Err(refuse(format!(
            "is on the device {device}; copy it to the CPU first: tensor.detach().cpu()"
        )));
    }
    let numpy = py.import("numpy")?;
    let converted = if given.hasattr("__array__")? {
        numpy.call_method1("asarray", (given,))
    } else if given.hasattr("__dlpack__")? {
        numpy.call_method1("from_dlpack", (given,))
    } else {
        return Err(refuse(format!(
            "is a {}; give a numpy array, or a tensor on the CPU",
            kind(given)
        )));
    };
    match converted {
        Ok(found) if found.is_exact_instance(array) => Ok(found),
        Ok(found) => Err(refuse(format!("became a {} and no array of numpy", kind(&found)))),
        Err(error) => Err(refuse(format!(
            "can't be read as an array ({}); give tensor.detach().float().cpu()",
            host_files::text::clean(&error.value(py).to_string(), 200)
        ))),
    }
}

/// As Python writes a tuple.
fn in_words(shape: &[usize]) -> String {
    let lengths = shape.iter().map(ToString::to_string).collect::<Vec<_>>();
    format!("({}{})", lengths.join(", "), if shape.len() == 1 { "," } else { "" })
}

#[expect(unsafe_code, reason = "the memory is numpy's")]
fn copy(address: usize, count: usize) -> Vec<f32> {
    let mut values = Vec::<f32>::with_capacity(count);
    if count > 0 {
        // SAFETY: the address is that of an array of numpy's own class, asked for a moment ago, with
        // `count` float32 side by side. It is alive, and nobody frees or moves its memory while this
        // thread has the interpreter. It may be unaligned, so bytes are copied. Any bits are an f32.
        unsafe {
            let from = std::ptr::with_exposed_provenance::<u8>(address);
            std::ptr::copy_nonoverlapping(from, values.as_mut_ptr().cast(), 4 * count);
            values.set_len(count);
        }
    }
    values
}

/// A new array with these values, as float64.
pub fn float64<'py>(py: Python<'py>, values: &[f64]) -> PyResult<Bound<'py, PyAny>> {
    array(py, bytemuck::cast_slice(values), "float64")
}

/// A new array with these values, as float32.
pub fn float32<'py>(py: Python<'py>, values: &[f32]) -> PyResult<Bound<'py, PyAny>> {
    array(py, bytemuck::cast_slice(values), "float32")
}

/// It can be written to, since its memory is nobody else's.
fn array<'py>(py: Python<'py>, bytes: &[u8], dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let numpy = py.import("numpy")?;
    if bytes.is_empty() {
        return numpy.call_method1("empty", (0, dtype));
    }
    numpy.call_method1("frombuffer", (PyByteArray::new(py, bytes), dtype))
}
