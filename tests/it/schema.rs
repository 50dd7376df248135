//! The schema explains itself to whoever reads it in an editor, and says by which page its scalars are read.

use serde_json::{Value, json};

use crate::support::TestGateway;

const ALL: &str = "{ __schema { description
    types { name kind description specifiedByURL
        fields(includeDeprecated: true) { name description args { name description } }
        inputFields { name description }
        enumValues(includeDeprecated: true) { name description } }
    directives { name description args { name description } } } }";

/// The directives, and the types that are not GraphQL's own.
async fn schema() -> Value {
    let mut schema = TestGateway::start().query(ALL).await["data"]["__schema"].take();
    let is_own = |name: &str| name.starts_with("__") || ["Boolean", "Float", "ID", "Int", "String"].contains(&name);
    schema["types"].as_array_mut().unwrap().retain(|kind| !is_own(kind["name"].as_str().unwrap()));
    schema
}

/// The path of everything inside that has a name and no description.
fn undescribed(value: &Value, path: &str) -> Vec<String> {
    let path = value["name"].as_str().map_or_else(|| path.to_owned(), |name| format!("{path}/{name}"));
    let own = value.get("description").filter(|text| text.as_str().is_none_or(|text| text.trim().is_empty()));
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    own.map(|_| path.clone()).into_iter().chain(inner.into_iter().flat_map(|inner| undescribed(inner, &path))).collect()
}

#[tokio::test]
async fn everything_in_the_schema_is_described() {
    let schema = schema().await;
    assert_eq!(undescribed(&schema, ""), Vec::<String>::new());
    // The engine's own answer to this is null.
    let own = schema["description"].as_str().unwrap();
    assert!(own.contains("FINAL") && own.contains("CAMS") && own.contains("RTC"), "{own}");
    assert_eq!(undescribed(&json!([{ "name": "A", "args": [{ "name": "b", "description": null }] }]), ""), ["/A/b"]);
}

#[tokio::test]
async fn every_scalar_of_ours_names_the_page_that_specifies_it() {
    let schema = schema().await;
    let sdl = weir::schema::sdl();
    let scalars: Vec<_> = schema["types"].as_array().unwrap().iter().filter(|kind| kind["kind"] == "SCALAR").collect();
    assert_eq!(scalars.len(), 4);
    for scalar in scalars {
        let (name, url) = (scalar["name"].as_str().unwrap(), scalar["specifiedByURL"].as_str().unwrap_or_default());
        assert!(url.starts_with("https://"), "{name}: {url}");
        let line = format!("\nscalar {name} @specifiedBy(url: \"{url}\")\n");
        assert!(sdl.contains(&line), "{line}");
    }
}
