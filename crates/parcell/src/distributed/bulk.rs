//! Plain arrays: the types whose elements are numbers side by side. They travel as they lie in
//! memory, without serde; the elements' byte order is the machines' own, which is the same at both
//! ends, as the machine code is.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ndarray::{Array, ArrayD, Dimension, IxDyn};
use num_complex::Complex;

use super::transport::{Buffer, Bulk, Misfit, Plain, bytes_of};

/// An owned array of plain elements: a vector, a boxed slice, an array of ndarray.
trait PlainArray: Any + Send + Sync + Sized {
    type Element: Plain;
    fn shape(&self) -> Vec<usize>;
    /// The elements, where they lie side by side in row-major order.
    fn elements(&self) -> Option<&[Self::Element]>;
    /// A copy of the elements in row-major order.
    fn copied(&self) -> Vec<Self::Element>;
    /// `None` if the shape does not have as many elements, or not as many dimensions.
    fn assemble(shape: &[usize], elements: Vec<Self::Element>) -> Option<Self>;
}

impl<P: Plain> PlainArray for Vec<P> {
    type Element = P;

    fn shape(&self) -> Vec<usize> {
        vec![self.len()]
    }

    fn elements(&self) -> Option<&[P]> {
        Some(self)
    }

    fn copied(&self) -> Vec<P> {
        self.clone()
    }

    fn assemble(shape: &[usize], elements: Vec<P>) -> Option<Vec<P>> {
        (shape == [elements.len()]).then_some(elements)
    }
}

impl<P: Plain> PlainArray for Box<[P]> {
    type Element = P;

    fn shape(&self) -> Vec<usize> {
        vec![self.len()]
    }

    fn elements(&self) -> Option<&[P]> {
        Some(self)
    }

    fn copied(&self) -> Vec<P> {
        self.to_vec()
    }

    fn assemble(shape: &[usize], elements: Vec<P>) -> Option<Box<[P]>> {
        (shape == [elements.len()]).then(|| elements.into_boxed_slice())
    }
}

impl<P: Plain, D: Dimension + 'static> PlainArray for Array<P, D> {
    type Element = P;

    fn shape(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn elements(&self) -> Option<&[P]> {
        self.as_slice()
    }

    fn copied(&self) -> Vec<P> {
        match self.as_slice() {
            Some(elements) => elements.to_vec(),
            None => self.iter().copied().collect(),
        }
    }

    fn assemble(shape: &[usize], elements: Vec<P>) -> Option<Array<P, D>> {
        ArrayD::from_shape_vec(IxDyn(shape), elements).ok()?.into_dimensionality().ok()
    }
}

/// Makes an array of a shape and elements in an `Option` of its type; `false` if these do not fit each
/// other.
type Assemble = fn(&[usize], Buffer, &mut dyn Any) -> Result<bool, Misfit>;

/// What is done with a plain array whose type is known only by its [`TypeId`].
pub(crate) struct PlainType {
    element_size: usize,
    element_align: usize,
    shape: fn(&dyn Any) -> Option<Vec<usize>>,
    append: fn(&dyn Any, &mut Vec<u8>),
    copy: fn(&dyn Any) -> Option<Bulk>,
    share: fn(Arc<dyn Any + Send + Sync>) -> Option<Bulk>,
    assemble: Assemble,
}

impl PlainType {
    /// The functions for the type `T` of a value, if it is a plain array.
    pub(crate) fn of(id: TypeId) -> Option<&'static PlainType> {
        TYPES.get(&id)
    }

    pub(crate) fn element_size(&self) -> usize {
        self.element_size
    }

    pub(crate) fn element_align(&self) -> usize {
        self.element_align
    }

    /// Length, or shape; `None` for a value of another type.
    pub(crate) fn shape(&self, value: &dyn Any) -> Option<Vec<usize>> {
        (self.shape)(value)
    }

    /// Appends the elements' bytes.
    pub(crate) fn append(&self, value: &dyn Any, bytes: &mut Vec<u8>) {
        (self.append)(value, bytes);
    }

    /// A copy of the elements, to be sent; `None` also where there is no memory for it.
    pub(crate) fn copy(&self, value: &dyn Any) -> Option<Bulk> {
        (self.copy)(value)
    }

    /// The elements, to be sent from where they lie; a copy where they do not lie in order.
    pub(crate) fn share(&self, value: Arc<dyn Any + Send + Sync>) -> Option<Bulk> {
        (self.share)(value)
    }

    /// Puts the array with these elements into an `Option` of its type; `false` if the shape does not
    /// fit them.
    pub(crate) fn assemble(
        &self,
        shape: &[usize],
        elements: Buffer,
        place: &mut dyn Any,
    ) -> Result<bool, Misfit> {
        (self.assemble)(shape, elements, place)
    }

    fn new<A: PlainArray>() -> PlainType {
        PlainType {
            element_size: size_of::<A::Element>(),
            element_align: align_of::<A::Element>(),
            shape: |value| value.downcast_ref::<A>().map(PlainArray::shape),
            append: append::<A>,
            copy: copy::<A>,
            share: share::<A>,
            assemble: |shape, elements, place| {
                let array = A::assemble(shape, elements.into_vec()?);
                let fits = array.is_some();
                *place.downcast_mut().expect("the place is for the type that was looked up") =
                    array;
                Ok(fits)
            },
        }
    }
}

fn append<A: PlainArray>(value: &dyn Any, bytes: &mut Vec<u8>) {
    let Some(array) = value.downcast_ref::<A>() else { return };
    match array.elements() {
        Some(elements) => bytes.extend_from_slice(bytes_of(elements)),
        None => bytes.extend_from_slice(bytes_of(&array.copied())),
    }
}

fn copy<A: PlainArray>(value: &dyn Any) -> Option<Bulk> {
    let array = value.downcast_ref::<A>()?;
    let Some(elements) = array.elements() else {
        return Some(Bulk::of(Arc::new(array.copied())));
    };
    let buffer = Buffer::copy_of(bytes_of(elements), align_of::<A::Element>()).ok()?;
    Some(Bulk::of_buffer(Arc::new(buffer)))
}

fn share<A: PlainArray>(value: Arc<dyn Any + Send + Sync>) -> Option<Bulk> {
    let array = value.downcast_ref::<A>()?;
    let Some(elements) = array.elements() else {
        return Some(Bulk::of(Arc::new(array.copied())));
    };
    let (start, count) = (elements.as_ptr(), elements.len());
    // SAFETY: the elements belong to the value in the `Arc`. Vectors, boxed slices and arrays of
    // plain elements have no interior mutability, so while the bulk holds its share of the `Arc`
    // nobody can change or move them.
    Some(unsafe { Bulk::within(value, start, count) })
}

static TYPES: LazyLock<HashMap<TypeId, PlainType>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    macro_rules! elements {
        ($($element:ty),*) => { $(add_arrays::<$element>(&mut types);)* };
    }
    elements!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);
    elements!(Complex<f32>, Complex<f64>);
    types
});

fn add_arrays<P: Plain>(types: &mut HashMap<TypeId, PlainType>) {
    fn add<A: PlainArray>(types: &mut HashMap<TypeId, PlainType>) {
        types.insert(TypeId::of::<A>(), PlainType::new::<A>());
    }
    add::<Vec<P>>(types);
    add::<Box<[P]>>(types);
    add::<ndarray::Array1<P>>(types);
    add::<ndarray::Array2<P>>(types);
    add::<ndarray::Array3<P>>(types);
    add::<ndarray::Array4<P>>(types);
    add::<ndarray::Array5<P>>(types);
    add::<ndarray::Array6<P>>(types);
    add::<ArrayD<P>>(types);
}
