//! Items of long lists: each field is declared once, for the engine and for lists that are written in one go.

use async_graphql::ID;

use super::raw::{Json, Plan, RawItem, RawList, RawValue, Selected};
use super::scalars::{ButtonKind, Date, DateTime, Finality, Granularity, Id, Long, Source};

/// The fields of an object, in order: the words of the schema, a name, a type and a value. `$row` is how the values name
/// the object. It makes the resolvers of the object and its [`RawItem`], so that both have the same fields and values.
macro_rules! item {
    ($item:ident$(<$life:lifetime>)?: $row:pat => {
        $($(#[$doc:meta])* $field:ident: $value_type:ty = $value:expr,)+
    }) => {
        #[async_graphql::Object(use_type_description)]
        impl$(<$life>)? $item$(<$life>)? {
            $($(#[$doc])* async fn $field(&self) -> $value_type {
                let $row = self;
                $value
            })+
        }

        const _: () = {
            use $crate::schema::raw::{Json, RawItem, RawValue, Selected};

            /// The fields that can be selected, each with what is selected of it.
            #[expect(non_camel_case_types, reason = "they are called what the fields are called")]
            pub(super) enum Field$(<$life>)? {
                $($field(<$value_type as RawValue>::Plan),)+
            }

            impl$(<$life>)? RawItem for $item$(<$life>)? {
                type Field = Field$(<$life>)?;

                fn field(selected: &Selected<'_>) -> Option<Self::Field> {
                    $(if selected.is(stringify!($field)) {
                        return <$value_type as RawValue>::plan(selected).map(Field::$field);
                    })+
                    None
                }

                fn write_field(&self, field: &Self::Field, out: &mut Json) {
                    let $row = self;
                    match field {
                        $(Field::$field(plan) => {
                            let value: $value_type = $value;
                            value.write(plan, out);
                        })+
                    }
                }
            }
        };
    };
}
pub(super) use item;

/// Values of which nothing is selected, and how they are written.
macro_rules! leaves {
    ($($leaf:ty: $value:pat, $out:ident => $written:expr;)+) => {$(
        impl RawValue for $leaf {
            type Plan = ();

            fn plan(_: &Selected<'_>) -> Option<()> {
                Some(())
            }

            fn write(&self, (): &(), $out: &mut Json) {
                let $value = self;
                $written
            }
        }
    )+};
}

leaves! {
    &str: text, out => out.string(text);
    String: text, out => out.string(text);
    bool: flag, out => out.flag(*flag);
    i32: number, out => out.integer(i64::from(*number));
    f64: number, out => out.float(*number);
    Id<'_>: Id(text), out => out.string(text);
    ID: ID(text), out => out.string(text);
    Date: Date(date), out => out.plain(&date.to_string());
    Long: Long(number), out => out.integer(*number);
    DateTime: DateTime(at), out => out.instant(*at);
    ButtonKind: choice, out => out.choice(*choice);
    Granularity: choice, out => out.choice(*choice);
    Finality: choice, out => out.choice(*choice);
    Source: choice, out => out.choice(*choice);
}

impl<V: RawValue> RawValue for Option<V> {
    type Plan = V::Plan;

    fn plan(selected: &Selected<'_>) -> Option<V::Plan> {
        V::plan(selected)
    }

    fn write(&self, plan: &V::Plan, out: &mut Json) {
        match self {
            Some(value) => value.write(plan, out),
            None => out.null(),
        }
    }
}

impl<T: RawItem> RawValue for T {
    type Plan = Plan<T>;

    fn plan(selected: &Selected<'_>) -> Option<Plan<T>> {
        selected.plan()
    }

    fn write(&self, plan: &Plan<T>, out: &mut Json) {
        out.object(self, plan);
    }
}

impl<T: RawItem> RawValue for RawList<T> {
    type Plan = Plan<T>;

    fn plan(selected: &Selected<'_>) -> Option<Plan<T>> {
        selected.plan()
    }

    fn write(&self, plan: &Plan<T>, out: &mut Json) {
        let Self(items) = self;
        out.array(items, plan);
    }
}
