//! Types as closely as completion needs them: a head and its arguments, references left out.

use syn::{GenericArgument, PathArguments, ReturnType, Type, TypeParamBound};

/// A type: `Vec<f64>` has the head `Vec` and one argument. Slices and arrays have the head `[]`,
/// tuples `()`, trait objects that of their trait; what is not known is `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) head: String,
    pub(super) args: Vec<Shape>,
}

impl Shape {
    pub(super) fn new(head: &str, args: Vec<Shape>) -> Shape {
        Shape { head: head.to_owned(), args }
    }

    /// A type without arguments.
    pub(super) fn plain(head: &str) -> Shape {
        Shape::new(head, Vec::new())
    }

    /// The type that a text names.
    pub(super) fn parse(text: &str) -> Option<Shape> {
        Shape::of(&syn::parse_str(text).ok()?)
    }

    /// `None` for what has neither fields nor methods.
    pub(super) fn of(ty: &Type) -> Option<Shape> {
        match ty {
            Type::Path(path) => Some(Shape::of_path(&path.path)),
            Type::Reference(inner) => Shape::of(&inner.elem),
            Type::Paren(inner) => Shape::of(&inner.elem),
            Type::Group(inner) => Shape::of(&inner.elem),
            Type::Slice(inner) => Some(Shape::new("[]", vec![Shape::or_unknown(&inner.elem)])),
            Type::Array(inner) => Some(Shape::new("[]", vec![Shape::or_unknown(&inner.elem)])),
            Type::Tuple(inner) => {
                Some(Shape::new("()", inner.elems.iter().map(Shape::or_unknown).collect()))
            }
            Type::TraitObject(inner) => Shape::of_bounds(inner.bounds.iter()),
            Type::ImplTrait(inner) => Shape::of_bounds(inner.bounds.iter()),
            _ => None,
        }
    }

    /// What a function returns.
    pub(super) fn returned(output: &ReturnType) -> Option<Shape> {
        match output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Shape::of(ty),
        }
    }

    /// The first trait of `A + B`.
    pub(super) fn of_bounds<'a>(
        mut bounds: impl Iterator<Item = &'a TypeParamBound>,
    ) -> Option<Shape> {
        bounds.find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => Some(Shape::of_path(&bound.path)),
            _ => None,
        })
    }

    pub(super) fn of_path(path: &syn::Path) -> Shape {
        let Some(last) = path.segments.last() else { return Shape::plain("_") };
        let args = match &last.arguments {
            PathArguments::AngleBracketed(args) => args.args.iter().filter_map(argument).collect(),
            _ => Vec::new(),
        };
        Shape::new(&last.ident.to_string(), args)
    }

    fn or_unknown(ty: &Type) -> Shape {
        Shape::of(ty).unwrap_or_else(|| Shape::plain("_"))
    }

    /// With other types in place of names without arguments.
    pub(super) fn with(&self, replaced: &dyn Fn(&str) -> Option<Shape>) -> Shape {
        let own = self.args.is_empty().then(|| replaced(&self.head)).flatten();
        own.unwrap_or_else(|| Shape {
            head: self.head.clone(),
            args: self.args.iter().map(|arg| arg.with(replaced)).collect(),
        })
    }

    /// What iterating gives.
    pub(super) fn element(&self) -> Option<Shape> {
        if ["HashMap", "BTreeMap"].contains(&self.head.as_str()) {
            return Some(Shape::new("()", self.args.clone()));
        }
        self.args.first().filter(|arg| arg.head != "_").cloned()
    }

    /// What `*` gives, for types whose methods are mostly those of their content.
    pub(super) fn content(&self) -> Option<Shape> {
        match self.head.as_str() {
            "Box" | "Rc" | "Arc" | "Ref" | "RefMut" | "Cow" | "Pin" | "MutexGuard"
            | "RwLockReadGuard" | "RwLockWriteGuard" => self.args.first().cloned(),
            "String" => Some(Shape::plain("str")),
            "Vec" => Some(Shape::new("[]", self.args.clone())),
            "PathBuf" => Some(Shape::plain("Path")),
            _ => None,
        }
    }
}

fn argument(argument: &GenericArgument) -> Option<Shape> {
    match argument {
        GenericArgument::Type(ty) => Some(Shape::or_unknown(ty)),
        // `Iterator<Item = f64>`
        GenericArgument::AssocType(assoc) => Some(Shape::or_unknown(&assoc.ty)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_through_references() {
        let vec = |of| Some(Shape::new("Vec", vec![Shape::plain(of)]));
        assert_eq!(Shape::parse("&'a mut std::vec::Vec<f64>"), vec("f64"));
        assert_eq!(Shape::parse("Vec<_>"), vec("_"));
        assert_eq!(Shape::parse("&dyn Area"), Some(Shape::plain("Area")));
        let items = Shape::parse("Box<dyn Iterator<Item = u8> + Send>").unwrap();
        assert_eq!(items.content().unwrap().element(), Some(Shape::plain("u8")));
        assert_eq!(Shape::parse("fn(i32)"), None);
    }
}
