//! What linking an addon for Node needs.

fn main() {
    napi_build::setup();
}
