//! Hands the image's linker script to the linker.

fn main() {
    darma_build::image();
}
