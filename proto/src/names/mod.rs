//! What the catalogue's metrics are called elsewhere: at `/metrics`, by OpenTelemetry's conventions, and as fields of the
//! measurements `system_cpu`, `system_memory`, `system_io` and `system_network`. `docs/metrics.md` is made from this.

pub mod agent;
#[cfg(test)]
mod document;
mod family;
mod measurement;
mod opentelemetry;

pub use self::{
    family::{Family, FamilyKind, Merge, NOT_EXPOSED},
    measurement::{Field, MEASUREMENTS, Measurement},
    opentelemetry::{Attribute, OPENTELEMETRY, SameAs},
};
