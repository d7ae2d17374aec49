use http::HeaderMap;
use shiori_worker::TraceParent;

/// The `traceparent` of the request. Invalid and repeated ones are ignored.
pub(super) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TraceParent::HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.parse().ok(),
        _ => None,
    }
}
