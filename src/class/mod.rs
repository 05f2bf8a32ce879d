//! Public, private, secret: what may become of a value, by its type.
//!
//! | class   | type of the value                    | logged, shown, in JSON or a history | in a file | over a pipe |
//! |---------|--------------------------------------|-------------------------------------|-----------|-------------|
//! | public  | any other that serde serialises      | yes                                 | yes       | yes         |
//! | private | [`Private`]                          | only whether it is set              | yes       | yes         |
//! | secret  | [`Secret`](crate::secret::Secret)    | no                                  | no        | yes         |
//!
//! A value that is not public has neither `Display` nor serde's `Serialize`, so no log line, no output and no derived `Serialize`
//! of a struct around it compiles. Its ways out are [`InFile`], which takes no secret, and [`OverPipe`], which takes all three
//! and can be begun only by the pipes of this crate.
//!
//! [`classes!`](classes) says the class of each field of a struct. Invariant: a field that is not named there, or whose type is of
//! another class, does not compile.
#![forbid(unsafe_code)]

mod field;
mod private;
mod ways;

pub use field::{
    Class, ClassedField, ConsistsOf, FieldParts, HasClasses, PrivateField, PublicField, SecretField,
    has_secret,
};
pub use private::Private;
#[cfg(feature = "upcall")]
pub(crate) use ways::over_pipe;
pub use ways::{InFile, OverPipe, secret_from_pipe};

/// Says the class of each field: `public`, `private` or `secret`.
///
/// Of a field that has fields of its own: `fields(T)`; `tables(T)` if names that are not known beforehand lead to a `T` each;
/// `optional(T)` for an `Option<T>` in which something is private. `unwritten`: no serialiser ever sees the field. A name in
/// brackets is the one that people know.
///
/// Implements [`HasClasses`](crate::class::HasClasses). With `over_pipe` before it, for a struct without `Serialize` since a field
/// is not public, also the way over a pipe; with `in_file`, the way into a file.
///
/// ```ignore
/// classes!(over_pipe Loaded { name: public, owner: private, content: secret });
/// classes!(Reply { Done { count: public }, Failed { failure: fields(Failure) } });
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! classes {
    (over_pipe $name:ident { $($field:ident : $class:ident $(($of:ty))?),* $(,)? }) => {
        $crate::class::classes!($name { $($field : $class $(($of))?),* });
        $crate::class::classes!(@way OverPipe $name { $($field : $class),* });
    };
    (in_file $name:ident { $($field:ident : $class:ident $(($of:ty))?),* $(,)? }) => {
        $crate::class::classes!($name { $($field : $class $(($of))?),* });
        $crate::class::classes!(@way InFile $name { $($field : $class),* });
    };
    ($name:ident { $($field:ident $([$shown:ident])? : $class:ident $(($of:ty))?),* $(,)? }) => {
        impl $crate::class::HasClasses for $name {
            const FIELDS: &'static [$crate::class::ClassedField] =
                $crate::class::classes!(@fields ($($field $([$shown])? : $class $(($of))?),*));
        }
        const _: fn(&$name) = |whole| {
            let $name { $($field),* } = whole;
            $($crate::class::classes!(@check $field $class $(($of))?);)*
        };
    };
    ($name:ident { $($variant:ident $fields:tt),* $(,)? }) => {
        impl $crate::class::HasClasses for $name {
            const FIELDS: &'static [$crate::class::ClassedField] =
                &[$($crate::class::ClassedField {
                    name: stringify!($variant),
                    parts: $crate::class::FieldParts::Fields($crate::class::classes!(@fields $fields)),
                }),*];
        }
        const _: fn(&$name) = |whole| match whole {
            $($crate::class::classes!(@pattern $name $variant $fields) => $crate::class::classes!(@checks $fields),)*
        };
    };
    (@fields { $($fields:tt)* }) => { $crate::class::classes!(@fields ($($fields)*)) };
    (@fields ($($field:ident $([$shown:ident])? : $class:ident $(($of:ty))?),* $(,)?)) => {
        &[$($crate::class::ClassedField {
            name: $crate::class::classes!(@name $field $([$shown])?),
            parts: $crate::class::classes!(@parts $class $(($of))?),
        }),*]
    };
    (@pattern $name:ident $variant:ident { $($field:ident : $class:ident $(($of:ty))?),* $(,)? }) => {
        $name::$variant { $($field),* }
    };
    (@pattern $name:ident $variant:ident ($($field:ident : $class:ident $(($of:ty))?),* $(,)?)) => {
        $name::$variant($($field),*)
    };
    (@checks { $($fields:tt)* }) => { $crate::class::classes!(@checks ($($fields)*)) };
    (@checks ($($field:ident : $class:ident $(($of:ty))?),* $(,)?)) => {{
        $($crate::class::classes!(@check $field $class $(($of))?);)*
    }};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident [$shown:ident]) => { stringify!($shown) };
    (@parts public) => { $crate::class::FieldParts::Value($crate::class::Class::Public) };
    (@parts private) => { $crate::class::FieldParts::Value($crate::class::Class::Private) };
    (@parts secret) => { $crate::class::FieldParts::Value($crate::class::Class::Secret) };
    (@parts fields($of:ty)) => { $crate::class::FieldParts::Fields(<$of as $crate::class::HasClasses>::FIELDS) };
    (@parts optional($of:ty)) => { $crate::class::classes!(@parts fields($of)) };
    (@parts tables($of:ty)) => { $crate::class::FieldParts::Tables(<$of as $crate::class::HasClasses>::FIELDS) };
    (@parts unwritten) => { $crate::class::FieldParts::Fields(&[]) };
    (@check $field:ident public) => { let _: &dyn $crate::class::PublicField = $field; };
    (@check $field:ident private) => { let _: &dyn $crate::class::PrivateField = $field; };
    (@check $field:ident secret) => { let _: &dyn $crate::class::SecretField = $field; };
    (@check $field:ident fields($of:ty)) => { let _: &dyn $crate::class::ConsistsOf<$of> = $field; };
    (@check $field:ident optional($of:ty)) => { let _: &Option<$of> = $field; };
    (@check $field:ident tables($of:ty)) => { let _: &dyn $crate::class::ConsistsOf<$of> = $field; };
    (@check $field:ident unwritten) => { let _ = $field; };
    (@way $way:ident $name:ident { $($field:ident : $class:ident),* }) => {
        impl ::serde::Serialize for $crate::class::$way<'_, $name> {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeStruct;
                const LENGTH: usize = [$(stringify!($field)),*].len();
                let $name { $($field),* } = self.whole();
                let mut written = serializer.serialize_struct(stringify!($name), LENGTH)?;
                $($crate::class::classes!(@write $class written self $field);)*
                written.end()
            }
        }
    };
    (@write unwritten $written:ident $self:ident $field:ident) => { let _ = $field; };
    (@write optional $written:ident $self:ident $field:ident) => {
        $written.serialize_field(stringify!($field), &$self.optional($field))?
    };
    (@write $class:ident $written:ident $self:ident $field:ident) => {
        $written.serialize_field(stringify!($field), &$self.part($field))?
    };
}

pub use classes;
