use lgss::class::Private;

fn main() {
    let principal = Private::new("alice");
    println!("{principal}");
}
