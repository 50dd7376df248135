//! Bends a good answer's JSON as a fault says.

use serde_json::{Map, Value, json};

use super::Fault;

/// Longer than a day of 25 hours, and than half an hour.
const TOO_LONG_MS: i64 = 26 * 3_600_000;

/// Bends `body`, whose rows stand in the array at `rows` (a JSON pointer). False if `fault` is not of this kind.
pub(super) fn distort(fault: &Fault, body: &mut Value, rows: &str) -> bool {
    match fault {
        Fault::NullData => {
            if let Some(data) = body.pointer_mut(rows) {
                *data = Value::Null;
            }
        }
        Fault::AbsentData => {
            let (parent, field) = rows.rsplit_once('/').unwrap_or(("", rows));
            if let Some(Value::Object(parent)) = body.pointer_mut(parent) {
                parent.remove(field);
            }
        }
        Fault::StringNumbers => each_value(body, &mut |value| {
            if value.is_number() {
                *value = Value::String(value.to_string());
            }
        }),
        Fault::UnknownFields => each_value(body, &mut |value| {
            if let Value::Object(fields) = value {
                fields.insert("X-Unheard-Of".into(), json!({ "Start": null, "Nested": [1, "two"] }));
            }
        }),
        Fault::AccessDeniedObject => {
            if let Value::Object(fields) = body {
                fields.insert("AccessDeniedDetail".into(), access_denied_detail());
            }
        }
        Fault::NullRows => with_rows(body, rows, |rows| rows.insert(rows.len() / 2, Value::Null)),
        Fault::DuplicateRows => with_first(body, rows, |_| ()),
        Fault::ConflictingRows => with_first(body, rows, |row| {
            add(row, "SentCount", 1);
            add(row, "Value", 1);
        }),
        Fault::OverlappingBuckets => with_first(body, rows, |row| {
            let half = length(row) / 2;
            add(row, "Start", half);
            add(row, "End", half);
        }),
        Fault::WrongGranularity => with_first_in_place(body, rows, |row| {
            let other = if row.get("Granularity") == Some(&json!("DAILY")) { "HALF_HOUR" } else { "DAILY" };
            if let Some(granularity) = row.get_mut("Granularity") {
                *granularity = other.into();
            }
        }),
        Fault::LongBucket => with_first_in_place(body, rows, |row| {
            let missing = TOO_LONG_MS - length(row);
            add(row, "End", missing);
        }),
        _ => return false,
    }
    true
}

/// The object that Alibaba's gateway puts where a good answer has a string.
pub(super) fn access_denied_detail() -> Value {
    json!({
        "AuthAction": "cams:GetChatappPhoneNumberMetric",
        "AuthPrincipalDisplayName": "weir",
        "AuthPrincipalOwnerId": "1000000000000000",
        "AuthPrincipalType": "SubUser",
        "EncodedDiagnosticMessage": "AQIBIAAAAAA",
        "NoPermissionType": "ImplicitDeny",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
    })
}

fn each_value(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_value(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_value(field, change)),
        _ => {}
    }
    change(value);
}

fn with_rows(body: &mut Value, rows: &str, change: impl FnOnce(&mut Vec<Value>)) {
    if let Some(Value::Array(rows)) = body.pointer_mut(rows) {
        change(rows);
    }
}

fn with_first_in_place(body: &mut Value, rows: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    with_rows(body, rows, |rows| {
        if let Some(Value::Object(row)) = rows.first_mut() {
            change(row);
        }
    });
}

/// Adds a changed copy of the first row at the end.
fn with_first(body: &mut Value, rows: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    with_rows(body, rows, |rows| {
        if let Some(Value::Object(mut row)) = rows.first().cloned() {
            change(&mut row);
            rows.push(Value::Object(row));
        }
    });
}

fn length(row: &Map<String, Value>) -> i64 {
    let read = |field| row.get(field).and_then(Value::as_i64);
    read("End").zip(read("Start")).map_or(0, |(end, start)| end - start)
}

fn add(row: &mut Map<String, Value>, field: &str, by: i64) {
    if let Some(value) = row.get_mut(field) {
        if let Some(number) = value.as_i64() {
            *value = (number + by).into();
        } else if let Some(number) = value.as_f64() {
            // Exact: `by` is 1 wherever a field may hold a float.
            *value = if by == 1 { (number + 1.0).into() } else { number.into() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bent(fault: &Fault) -> Value {
        let mut body = json!({ "Code": "OK", "AccessDeniedDetail": "None", "Data": [
            { "PhoneNumber": "86130", "Granularity": "DAILY", "Start": 0, "End": 86_400_000, "SentCount": 4 },
            { "PhoneNumber": "86131", "Granularity": "DAILY", "Start": 0, "End": 86_400_000, "SentCount": 5 },
        ]});
        assert!(distort(fault, &mut body, "/Data"));
        body
    }

    #[test]
    fn each_fault_bends_what_it_names() {
        assert_eq!(bent(&Fault::NullData)["Data"], Value::Null);
        assert!(bent(&Fault::AbsentData).get("Data").is_none());
        assert_eq!(bent(&Fault::NullRows)["Data"][1], Value::Null);
        assert_eq!(bent(&Fault::StringNumbers)["Data"][0]["End"], "86400000");
        assert!(bent(&Fault::UnknownFields)["Data"][1].get("X-Unheard-Of").is_some());
        assert!(bent(&Fault::AccessDeniedObject)["AccessDeniedDetail"].is_object());
        let twice = bent(&Fault::DuplicateRows);
        assert_eq!(twice["Data"][0], twice["Data"][2]);
        assert_eq!(bent(&Fault::ConflictingRows)["Data"][2]["SentCount"], 5);
        assert_eq!(bent(&Fault::OverlappingBuckets)["Data"][2]["Start"], 43_200_000);
        assert_eq!(bent(&Fault::WrongGranularity)["Data"][0]["Granularity"], "HALF_HOUR");
        assert_eq!(bent(&Fault::LongBucket)["Data"][0]["End"], TOO_LONG_MS);
    }

    #[test]
    fn rows_below_a_result_are_found_and_floats_stay_floats() {
        let mut body = json!({ "Result": { "Data": [{ "DistributionName": "上海", "Value": 666.0 }] } });
        assert!(distort(&Fault::ConflictingRows, &mut body, "/Result/Data"));
        assert_eq!(body["Result"]["Data"][1]["Value"], json!(667.0));
        assert!(distort(&Fault::AbsentData, &mut body, "/Result/Data"));
        assert_eq!(body, json!({ "Result": {} }));
        assert!(!distort(&Fault::Hang, &mut body, "/Result/Data"));
    }
}
