use lgss::class::{Private, classes};

struct Message {
    principal: Private<String>,
}

classes!(Message { principal: public });

fn main() {}
