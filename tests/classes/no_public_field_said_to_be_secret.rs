use lgss::class::classes;

struct Message {
    password: String,
}

classes!(Message { password: secret });

fn main() {}
