//! The image's linker script, and the law compiled for SSE2.

fn main() {
    darma_build::image();
    darma_build::hard_float("law");
}
