//! Builders that want to do harm, each as a whole pipeline in one process with a good one: what becomes of them, exactly, and that
//! the neighbour did not notice. `guest-examples/evil` is the builder; `stage` says how they share the process, `pace` how the
//! neighbour is judged.

mod assemble;
mod bulk;
mod by_hand;
mod case;
mod components;
mod describe;
mod documents;
mod lines;
mod neighbour;
mod pace;
mod process;
mod reading;
mod resolve;
mod sameness;
mod stage;
mod wording;
