//! Arguments that a caller may have given as null where null does not fit.
//!
//! A variable that may be null can stand where a value is needed, if there is another one for when it is left out; whether
//! it is null is known only then. The engine lets such an argument fail all that is around its field. Here the field fails
//! alone, as the specification wants.

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{InputType, InputValueError, InputValueResult, Value};

use crate::error::WeirError;

/// An argument as it was given: a value, or what is wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Given<T>(Result<T, String>);

impl<T> Given<T> {
    /// The value.
    pub(super) fn get(self) -> Result<T, WeirError> {
        self.0.map_err(WeirError::bad_input)
    }
}

impl<T> From<T> for Given<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<T: InputType> InputType for Given<T> {
    type RawValueType = T::RawValueType;

    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        if value.is_none() {
            return T::parse(None).map(Self::from).map_err(InputValueError::propagate);
        }
        // All else that may be wrong was found before.
        let wrong = || format!("null was given where a `{}` is needed", T::type_name());
        Ok(Self(T::parse(value).map_err(|_| wrong())))
    }

    fn to_value(&self) -> Value {
        self.0.as_ref().map_or(Value::Null, InputType::to_value)
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_ref().ok().and_then(InputType::as_raw_value)
    }
}
