//! Items of long lists: each field is declared once, for the engine and for lists that are written in one go.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{ContextSelectionSet, ID, OutputType, Positioned, ServerResult, Value};

use super::context::{RequestContext, object_width};
use super::error::refused;
use super::scalars::{ButtonKind, Date, DateTime, Digits, Finality, Granularity, Id, Long, Source};
use crate::error::WeirError;
use crate::fast::{Json, Plan, RawItem, RawValue, Selected};

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
            use $crate::fast::{Json, RawItem, RawValue, Selected};

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
    Digits<'_>: Digits(text), out => out.plain(text);
    ID: ID(text), out => out.string(text);
    Date: Date(date), out => out.plain(&date.to_string());
    Long: Long(number), out => out.integer(*number);
    DateTime: DateTime(at), out => out.instant(*at);
    ButtonKind: choice, out => out.choice(*choice);
    Granularity: choice, out => out.choice(*choice);
    Finality: choice, out => out.choice(*choice);
    Source: choice, out => out.choice(*choice);
}

/// Writing so many items takes a millisecond or more.
const LONG: usize = 2_000;

/// A list that is written in one go, unless the fast path is off. In the schema it is the list of its items.
pub(super) struct RawList<'a, T>(Items<'a, T>);

enum Items<'a, T> {
    There(Vec<T>),
    /// So many, which are made when it is their turn.
    Later(usize, Box<dyn Fn() -> Vec<T> + Send + Sync + 'a>),
}

impl<'a, T> RawList<'a, T> {
    /// These items.
    pub(super) fn of(items: impl IntoIterator<Item = T>) -> Self {
        Self(Items::There(items.into_iter().collect()))
    }

    /// So many items, which are made when the list is written: lists that wait for their turn take no memory.
    pub(super) fn later(n: usize, items: impl Fn() -> Vec<T> + Send + Sync + 'a) -> Self {
        Self(Items::Later(n, Box::new(items)))
    }

    fn len(&self) -> usize {
        match &self.0 {
            Items::There(items) => items.len(),
            Items::Later(n, _) => *n,
        }
    }
}

impl<T: RawItem> OutputType for RawList<'_, T> {
    fn type_name() -> Cow<'static, str> {
        <Vec<T> as OutputType>::type_name()
    }

    fn qualified_type_name() -> String {
        <Vec<T> as OutputType>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Vec<T> as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let request = context.data::<Arc<RequestContext>>().map_err(|error| error.into_server_error(field.pos))?;
        let plan = if request.writes_raw { Plan::<T>::read(&context.item.node, context) } else { None };
        debug_assert!(plan.is_some() || !request.writes_raw, "every field of an item is declared once for both ways");
        let too_large = |error: WeirError| refused(&error, Some(field.pos));
        let Some(plan) = plan else {
            let width = object_width(&context.item.node);
            request.take_room(self.len().saturating_mul(width)).map_err(too_large)?;
            return match &self.0 {
                Items::There(items) => items.resolve(context, field).await,
                Items::Later(_, items) => items().resolve(context, field).await,
            };
        };
        // What there will be no room for is refused before anything is made of it.
        let least = plan.least_length(self.len());
        request.take_room(least).map_err(too_large)?;
        let _turn = if self.len() < LONG { None } else { request.long_lists.acquire().await.ok() };
        let most = request.room().saturating_add(least);
        let json = match &self.0 {
            Items::There(items) => plan.list(items, most).await,
            Items::Later(_, items) => plan.list(&items(), most).await,
        };
        let json = json.ok_or_else(|| too_large(request.too_large()))?;
        request.take_room(json.len().saturating_sub(least)).map_err(too_large)?;
        // No scalar is made of bytes: those in an answer are JSON, and are written as they are.
        Ok(Value::Binary(json.into()))
    }
}

impl<T: RawItem> RawValue for RawList<'_, T> {
    type Plan = Plan<T>;

    fn plan(selected: &Selected<'_>) -> Option<Plan<T>> {
        selected.plan()
    }

    fn write(&self, plan: &Plan<T>, out: &mut Json) {
        match &self.0 {
            Items::There(items) => out.array(items, plan),
            Items::Later(_, items) => out.array(&items(), plan),
        }
    }
}
