//! Responses as they come, and the rows that they make.

use super::*;

fn csv(response: &str) -> String {
    csv_of(response, &Shape::default())
}

fn csv_of(response: &str, query: &Shape) -> String {
    to_csv(&Response::read(response).unwrap().data, query).unwrap()
}

fn text(response: &str) -> String {
    to_text(&Response::read(response).unwrap().data, &Shape::default())
}

/// What a query selects, written like `a(b c(d))`.
fn shape(text: &str) -> Shape {
    let mut open = vec![Shape::default()];
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        if letter.is_alphanumeric() {
            word.push(letter);
            continue;
        }
        let key = std::mem::take(&mut word);
        let named = Shape { key, fields: Vec::new() };
        if letter == '(' {
            open.push(named);
        } else if !named.key.is_empty() {
            open.last_mut().unwrap().fields.push(named);
        }
        if letter == ')' {
            let closed = open.pop().unwrap();
            open.last_mut().unwrap().fields.push(closed);
        }
    }
    open.pop().unwrap()
}

#[test]
fn where_there_is_no_row_the_query_says_the_columns() {
    let query = shape("a(totalCount pageInfo(hasNextPage) nodes(x y(z)))");
    let response = r#"{"data":{"a":{"totalCount":0,"pageInfo":{"hasNextPage":false},"nodes":[]}}}"#;
    assert_eq!(csv_of(response, &query), "x,y.z\n");
    let table = to_text(&Response::read(response).unwrap().data, &query);
    assert!(table.contains("│ x") && table.contains("y.z"), "{table}");
    let query = shape("a(id metrics(totalCount nodes(x)) data(n))");
    assert_eq!(csv_of(r#"{"data":{"a":[]}}"#, &query), "id,metrics.x,data.n\n");
    let query = shape("a(id data(n m))");
    assert_eq!(
        csv_of(r#"{"data":{"a":[{"id":1,"data":[]},{"id":2,"data":null}]}}"#, &query),
        "id,data.n,data.m\n1,,\n2,,\n"
    );
    assert_eq!(csv_of(r#"{"data":{"a":[{"id":1,"data":[{"n":2,"m":3}]}]}}"#, &query), "id,data.n,data.m\n1,2,3\n");
    assert_eq!(csv_of(r#"{"data":{"a":[]}}"#, &shape("a")), "a\n");
}

#[test]
fn flat_rows_are_a_table() {
    let json = r#"{"columns":["b","a"],"rows":[{"b":"1","a":0.5},{"b":null,"a":2}],"next":null,"weir":{}}"#;
    let table = of_rows(json.as_bytes()).unwrap();
    let cells = |line: &str| line.split(['│', '┆']).map(str::trim).collect::<Vec<_>>().join("|");
    let lines: Vec<_> = table.lines().map(cells).collect();
    assert_eq!((lines[1].as_str(), lines[3].as_str(), lines[4].as_str()), ("|b|a|", "|1|0.5|", "||2|"));
}

#[test]
fn a_connection_is_its_nodes() {
    let response = r#"{"data":{"phoneNumberMetrics":{"totalCount":2,"pageInfo":{"hasNextPage":false},"nodes":[
        {"phoneNumber":"8613800000001","sentCount":9007199254740993,"deliveryRate":0.5,"finality":"FINAL"},
        {"phoneNumber":"8613800000002","sentCount":0,"deliveryRate":null,"finality":"PROVISIONAL"}]}}}"#;
    assert_eq!(
        csv(response),
        "phoneNumber,sentCount,deliveryRate,finality\n8613800000001,9007199254740993,0.5,FINAL\n8613800000002,0,,PROVISIONAL\n"
    );
}

#[test]
fn edges_keep_their_cursor() {
    let response = r#"{"data":{"phoneNumberMetrics":{"edges":[{"cursor":"a","node":{"sentCount":1}}]}}}"#;
    assert_eq!(csv(response), "cursor,node.sentCount\na,1\n");
}

#[test]
fn rows_carry_the_columns_of_what_they_belong_to() {
    let response = r#"{"data":{"channels":[
        {"custSpaceId":"cams-alpha","metrics":[{"start":"s1","sentCount":1},{"start":"s2","sentCount":2}]},
        {"custSpaceId":"cams-beta","metrics":null},
        {"custSpaceId":"cams-gamma","metrics":[]},
        {"custSpaceId":"cams-delta","metrics":[{"start":"s3","sentCount":3}]}]}}"#;
    assert_eq!(
        csv(response),
        "custSpaceId,metrics.start,metrics.sentCount\n\
         cams-alpha,s1,1\ncams-alpha,s2,2\ncams-beta,,\ncams-gamma,,\ncams-delta,s3,3\n"
    );
}

#[test]
fn an_object_with_a_list_makes_a_row_an_item() {
    let response = r#"{"data":{"operationDistribution":{"appId":"app-one","window":{"start":"s","end":"e"},"data":[
        {"distributionName":"上海","value":666.0},{"distributionName":"a, \"b\"","value":123.0}],"finality":"FINAL"}}}"#;
    assert_eq!(
        csv(response),
        "appId,window.start,window.end,finality,data.distributionName,data.value\n\
         app-one,s,e,FINAL,上海,666.0\napp-one,s,e,FINAL,\"a, \"\"b\"\"\",123.0\n"
    );
}

#[test]
fn the_larger_of_two_lists_makes_the_rows() {
    let response = r#"{"data":{"channel":{"a":[{"x":1}],"phoneNumbers":["1","2"],"b":[{"y":2},{"y":3}]}}}"#;
    assert_eq!(
        csv(response),
        "a,phoneNumbers,b.y\n\"[{\"\"x\"\":1}]\",\"[\"\"1\"\",\"\"2\"\"]\",2\n\
         \"[{\"\"x\"\":1}]\",\"[\"\"1\"\",\"\"2\"\"]\",3\n"
    );
}

#[test]
fn connections_within_lists_keep_the_columns_of_the_owner_and_not_of_the_page() {
    let response = r#"{"data":{"channels":[{"id":"c","metrics":{"totalCount":1,"nodes":[{"n":1},{"n":2}]}}]}}"#;
    assert_eq!(csv(response), "id,metrics.n\nc,1\nc,2\n");
}

#[test]
fn several_root_fields_are_several_tables_and_failed_ones_none() {
    let response = r#"{"data":{"quotas":[{"operation":"A","available":2}],"operationDistribution":null,
        "datasets":[],"__typename":"Query","operationDistributions":[null,{"appId":"app-one"}]},
        "errors":[{"message":"the vendor is away","path":["operationDistribution"],
            "extensions":{"code":"VENDOR_UNAVAILABLE"}},
            {"message":"gone","path":["operationDistributions",0]}]}"#;
    let rendered = Response::read(response).unwrap();
    assert_eq!(csv(response), "operation,available\nA,2\n\ndatasets\n\n__typename\nQuery\n\nappId\napp-one\n");
    assert_eq!(
        rendered.error_lines(),
        ["VENDOR_UNAVAILABLE: the vendor is away (at operationDistribution)", "gone (at operationDistributions.0)"]
    );
    let text = text(response);
    assert!(text.starts_with("quotas\n┌"), "{text}");
    assert!(text.contains("\n\ndatasets\n┌"), "{text}");
}

#[test]
fn json_is_the_whole_response_in_its_own_order() {
    let response =
        r#"{"data":{"b":1,"a":{"z":1,"y":12345678901234567}},"errors":[{"message":"m"}],"extensions":{"weir":{}}}"#;
    let text = to_json(response).unwrap();
    assert_eq!(text.split_whitespace().collect::<String>(), response);
    assert!(text.lines().count() > 5, "it is indented");
}

#[test]
fn no_control_character_reaches_the_terminal() {
    let response = r#"{"data":{"channels":[{"account":"a\u001b[31mred"}]}}"#;
    let text = text(response);
    assert!(text.contains("red") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn an_answer_without_data_has_only_errors() {
    let response = r#"{"errors":[{"message":"no such field"}]}"#;
    assert_eq!((csv(response), text(response)), (String::new(), String::new()));
    assert_eq!(Response::read(response).unwrap().error_lines(), ["no such field"]);
    assert!(Response::read("<html>").is_err());
}
