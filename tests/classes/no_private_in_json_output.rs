use lgss::class::Private;

fn main() {
    let principal = Private::new("alice");
    let _ = serde_json::to_string(&principal);
}
