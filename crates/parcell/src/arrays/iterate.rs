//! Systems of equations whose matrix is known by what it does to a vector: conjugate gradients.

use super::darray::DArray;
use super::dims::dims;
use super::element::Rank;
use super::error::{ArrayError, OrRaise, shapes};
use super::operators::number_inplace;
use super::solve::Real;

/// How [`conjugate_gradients`] ended.
#[derive(Debug, Clone)]
pub struct Iterated<T, D> {
    /// What was found, cut as the right side is.
    pub solution: DArray<T, D>,
    /// The norm of the residual `b - A · x` before the first step and after each, as it is carried
    /// along from step to step; rounding lets it drift from the true one.
    pub residuals: Vec<T>,
    /// Whether the last of them is as small as was asked for.
    pub converged: bool,
}

/// The solution `x` of `A · x = b` for an operator `A` that is symmetric and positive definite, and
/// given as a function: of an array of any rank, cut as `b`, to one of the same shape. Ends when the
/// residual's norm is at most `tolerance` times that of `b`.
///
/// The function is called on this process, once a step, and shall work with operations on whole
/// arrays. Blocks until the solution is found. A step costs what the operator does, and six
/// messages to each owner with as many back; vectors move only as the operator moves them.
///
/// # Panics
/// If the residual is not small enough after ten times as many steps as there are elements, or if the
/// operator turns out not to be positive definite; if its array has another shape; if an owner is
/// gone, or an array is closed.
///
/// ```
/// use parcell::arrays::conjugate_gradients;
/// use parcell::ndarray::{Array1, s};
/// use parcell::prelude::*;
///
/// // -u″ = 1 between walls where u is zero: the stencil (-1, 2, -1).
/// let stencil = |x: &DArray1<f64>| {
///     let halo = x.with_halo(1, Boundary::Value(0.0));
///     halo.update(|u: &Array1<f64>| {
///         2.0 * &u.slice(s![1..-1]) - &u.slice(s![..-2]) - &u.slice(s![2..])
///     });
///     halo.to_darray()
/// };
/// let found = conjugate_gradients(stencil, &dones(9), 1e-10);
/// assert!(found.converged && found.residuals.len() <= 10);
/// assert!((found.solution.get(4) - 12.5).abs() < 1e-9);
/// ```
///
/// # Source
/// `cg(A, b; reltol)`, IterativeSolvers.jl; Hestenes and Stiefel, J. Res. Nat. Bur. Standards 49
/// (1952).
#[track_caller]
#[must_use]
pub fn conjugate_gradients<T: Real, D: Rank>(
    operator: impl FnMut(&DArray<T, D>) -> DArray<T, D>,
    b: &DArray<T, D>,
    tolerance: T,
) -> Iterated<T, D> {
    try_conjugate_gradients(operator, b, tolerance).or_raise()
}

/// As [`conjugate_gradients`].
///
/// # Errors
/// [`ArrayError::NotConverged`], [`ArrayError::NotPositive`], [`ArrayError::Shapes`],
/// [`ArrayError::Lost`], [`ArrayError::Closed`].
#[track_caller]
pub fn try_conjugate_gradients<T: Real, D: Rank>(
    operator: impl FnMut(&DArray<T, D>) -> DArray<T, D>,
    b: &DArray<T, D>,
    tolerance: T,
) -> Result<Iterated<T, D>, ArrayError> {
    let steps = b.len().saturating_mul(10);
    let found = conjugate_gradient_steps(operator, b, tolerance, steps)?;
    if found.converged {
        return Ok(found);
    }
    let norm = |at: Option<&T>| at.and_then(|norm| norm.to_f64()).unwrap_or(f64::NAN);
    Err(ArrayError::NotConverged {
        steps: found.residuals.len() - 1,
        residual: norm(found.residuals.last()) / norm(found.residuals.first()),
        tolerance: norm(Some(&tolerance)),
    })
}

/// As [`conjugate_gradients`], with at most so many steps; what they have come to is told by
/// [`Iterated::converged`].
///
/// # Errors
/// [`ArrayError::NotPositive`], [`ArrayError::Shapes`], [`ArrayError::Lost`],
/// [`ArrayError::Closed`].
///
/// ```
/// use parcell::arrays::conjugate_gradient_steps;
/// use parcell::prelude::*;
///
/// let numbers = DArray::from_fn(50, |i: usize| 1.0 + i as f64);
/// let found = conjugate_gradient_steps(|x| &numbers * x, &dones(50), 1e-12, 3)?;
/// assert!(!found.converged);
/// assert_eq!(found.residuals.len(), 4);
/// # Ok::<(), parcell::arrays::ArrayError>(())
/// ```
#[track_caller]
pub fn conjugate_gradient_steps<T: Real, D: Rank>(
    mut operator: impl FnMut(&DArray<T, D>) -> DArray<T, D>,
    b: &DArray<T, D>,
    tolerance: T,
    steps: usize,
) -> Result<Iterated<T, D>, ArrayError> {
    let solution = DArray::try_filled(T::zero(), dims(b.dimension()).layout(b.layout()))?;
    let residual = b.try_relaid(dims(b.dimension()).layout(b.layout()))?;
    let direction = residual.try_relaid(dims(b.dimension()).layout(b.layout()))?;
    let mut square = residual.try_dot(&residual)?;
    let mut residuals = vec![square.sqrt()];
    let wanted = tolerance * residuals[0];
    // NaN is not below anything, and would never be.
    while residuals.len() <= steps && residuals[residuals.len() - 1] > wanted {
        let image = operator(&direction);
        if image.shape() != b.shape() {
            return Err(shapes("conjugate_gradients", &b.shape(), &image.shape()));
        }
        let product = direction.try_dot(&image)?;
        if product <= T::zero() || product.is_nan() {
            let (step, product) = (residuals.len(), product.to_f64().unwrap_or(f64::NAN));
            return Err(ArrayError::NotPositive { step, product });
        }
        let length = square / product;
        solution.try_axpy(length, &direction)?;
        residual.try_axpy(-length, &image)?;
        let before = square;
        square = residual.try_dot(&residual)?;
        residuals.push(square.sqrt());
        number_inplace(&direction, square / before, |a: T, b: T| a * b)?;
        direction.try_axpy(T::one(), &residual)?;
    }
    let converged = residuals[residuals.len() - 1] <= wanted;
    Ok(Iterated { solution, residuals, converged })
}
