//! Activations of two clusters per layer, and of all that lies between them.

use super::{Damage, Row, Step, Synthetic, stream::Stream};
use host_contract::{Activations, Position, Source, Tap};

/// Distance of the clusters in standard deviations of one unit, whatever the width: far
/// enough apart for a classifier that was fitted on a few dozen examples.
const DISTANCE: f64 = 12.0;

/// The centre of the harmless cluster and the way to the harmful one.
struct Clusters {
    centre: Vec<f64>,
    way: Vec<f64>,
}

impl Synthetic<'_> {
    pub(super) fn activations(&self, tap: &Tap, step: &Step) -> Activations {
        let values = match step.damage {
            Some(Damage::Activations(value)) => {
                vec![value; step.rows.len() * tap.layers.len() * self.hidden as usize]
            }
            _ => self.rows(tap, &step.rows),
        };
        Activations {
            tap: tap.clone(),
            samples: step.rows.len() as u32,
            layers: tap.layers.len() as u32,
            hidden: self.hidden,
            values,
        }
    }

    /// Samples x layers x units.
    pub(super) fn rows(&self, tap: &Tap, rows: &[Row]) -> Vec<f32> {
        let places = tap.layers.iter().map(|layer| place(tap, *layer));
        let places: Vec<[u64; 3]> = places.collect();
        let clusters: Vec<Clusters> = places.iter().map(|at| self.clusters(at)).collect();
        let mut values = Vec::with_capacity(rows.len() * tap.layers.len() * self.hidden as usize);
        for row in rows {
            for ([source, position, layer], clusters) in places.iter().zip(&clusters) {
                let at = [*source, *position, *layer, row.key];
                let mut noise = Stream::new(self.seed, "activation", &at);
                let units = clusters.centre.iter().zip(&clusters.way);
                values.extend(
                    units.map(|(centre, way)| (centre + row.level * way + noise.centred()) as f32),
                );
            }
        }
        values
    }

    fn clusters(&self, place: &[u64; 3]) -> Clusters {
        let mut stream = Stream::new(self.seed, "clusters", place);
        let step = DISTANCE / f64::from(self.hidden.max(1)).sqrt();
        let centre = (0..self.hidden).map(|_| stream.centred()).collect();
        let way = (0..self.hidden).map(|_| step * stream.sign()).collect();
        Clusters { centre, way }
    }
}

fn place(tap: &Tap, layer: u32) -> [u64; 3] {
    let source = match tap.source {
        Source::Reference => 0,
        Source::Current => 1,
    };
    let position = match tap.position {
        Position::LastPromptToken => 0,
        Position::PromptMean => 1,
        Position::AnswerMean => 2,
    };
    [source, position, layer.into()]
}
