//! What the simulated model knows.

/// Words that must all be in the question, then the answer. The first match wins.
const FACTS: &[(&str, &str)] = &[
    ("capital france", "The capital of France is Paris."),
    ("capital germany", "The capital of Germany is Berlin."),
    ("capital italy", "The capital of Italy is Rome."),
    ("capital spain", "The capital of Spain is Madrid."),
    ("capital portugal", "The capital of Portugal is Lisbon."),
    ("capital japan", "The capital of Japan is Tokyo."),
    ("capital china", "The capital of China is Beijing."),
    ("capital india", "The capital of India is New Delhi."),
    ("capital australia", "The capital of Australia is Canberra."),
    ("capital canada", "The capital of Canada is Ottawa."),
    ("capital brazil", "The capital of Brazil is Brasília."),
    ("capital egypt", "The capital of Egypt is Cairo."),
    ("capital kenya", "The capital of Kenya is Nairobi."),
    ("capital england", "The capital of England is London."),
    ("capital united kingdom", "The capital of the United Kingdom is London."),
    ("capital uk", "The capital of the United Kingdom is London."),
    ("capital united states", "The capital of the United States is Washington, D.C."),
    ("capital usa", "The capital of the United States is Washington, D.C."),
    ("capital switzerland", "Switzerland has no capital by law; its federal city is Bern."),
    ("capital austria", "The capital of Austria is Vienna."),
    ("capital poland", "The capital of Poland is Warsaw."),
    ("capital sweden", "The capital of Sweden is Stockholm."),
    ("capital norway", "The capital of Norway is Oslo."),
    ("capital greece", "The capital of Greece is Athens."),
    ("capital turkey", "The capital of Turkey is Ankara."),
    ("capital mexico", "The capital of Mexico is Mexico City."),
    ("capital argentina", "The capital of Argentina is Buenos Aires."),
    ("largest planet", "Jupiter is the largest planet of the solar system."),
    ("smallest planet", "Mercury is the smallest planet of the solar system."),
    ("closest planet sun", "Mercury is the planet closest to the Sun."),
    ("red planet", "Mars is called the red planet."),
    ("how many planets", "The solar system has eight planets."),
    ("how many continents", "By the usual count there are seven continents."),
    ("largest ocean", "The Pacific is the largest ocean."),
    ("largest country", "Russia is the largest country by area."),
    ("smallest country", "Vatican City is the smallest country."),
    ("highest mountain", "Mount Everest is the highest mountain above sea level, at about 8,849 metres."),
    ("tallest mountain", "Mount Everest is the highest mountain above sea level, at about 8,849 metres."),
    (
        "longest river",
        "The Nile is usually called the longest river, at about 6,650 km; some measure the Amazon longer.",
    ),
    ("speed light", "Light travels at 299,792,458 metres per second in a vacuum."),
    ("speed sound", "Sound travels at about 343 metres per second in dry air at 20 °C."),
    ("distance moon", "The Moon is about 384,400 km from the Earth on average."),
    ("water boil", "Water boils at 100 °C (212 °F) at sea level."),
    ("water freeze", "Water freezes at 0 °C (32 °F)."),
    ("formula water", "The chemical formula of water is H2O."),
    ("symbol gold", "The chemical symbol of gold is Au."),
    ("symbol iron", "The chemical symbol of iron is Fe."),
    ("lightest element", "Hydrogen is the lightest element."),
    ("hamlet", "William Shakespeare wrote Hamlet."),
    ("romeo and juliet", "William Shakespeare wrote Romeo and Juliet."),
    ("wrote faust", "Johann Wolfgang von Goethe wrote Faust."),
    ("painted mona lisa", "Leonardo da Vinci painted the Mona Lisa."),
    ("wrote 1984", "George Orwell wrote Nineteen Eighty-Four."),
    ("first man moon", "Neil Armstrong was the first person on the Moon, on 20 July 1969."),
    ("first person moon", "Neil Armstrong was the first person on the Moon, on 20 July 1969."),
    ("invented telephone", "Alexander Graham Bell received the first patent for a telephone, in 1876."),
    ("telephone invented", "Alexander Graham Bell received the first patent for a telephone, in 1876."),
    ("world war ii end", "The Second World War ended in 1945."),
    ("berlin wall fall", "The Berlin Wall fell on 9 November 1989."),
    ("value of pi", "Pi is about 3.14159."),
    ("square root 2", "The square root of 2 is about 1.41421."),
    ("days leap year", "A leap year has 366 days."),
    ("days year", "A year has 365 days, a leap year 366."),
    ("hours day", "A day has 24 hours."),
    ("minutes hour", "An hour has 60 minutes."),
    ("legs spider", "A spider has eight legs."),
    ("largest animal", "The blue whale is the largest animal."),
    ("fastest animal", "The peregrine falcon is the fastest animal, in a dive; on land it is the cheetah."),
    ("bones human", "An adult human has 206 bones."),
    (
        "who created rust",
        "Graydon Hoare began the programming language Rust; its first stable release was in May 2015.",
    ),
    ("who created python", "Guido van Rossum created the programming language Python, first released in 1991."),
    ("http status 404", "HTTP status 404 means that the resource was not found."),
    ("http status 429", "HTTP status 429 means that the client sent too many requests."),
    ("colours rainbow", "The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet."),
    ("colors rainbow", "The colors of the rainbow are red, orange, yellow, green, blue, indigo and violet."),
    ("sky blue", "The sky is blue because air scatters short wavelengths of sunlight more than long ones."),
];

/// Longer texts ask for more than a fact.
const MAX_QUESTION_BYTES: usize = 1_000;

/// The fact that a question in lower case asks for.
pub(crate) fn lookup(question: &str) -> Option<&'static str> {
    if question.len() > MAX_QUESTION_BYTES {
        return None;
    }
    let words: Vec<&str> = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // A plural or a conjugated form still counts, but only for words long enough to be told apart.
    let known = |word: &str| words.iter().any(|heard| *heard == word || (word.len() > 3 && heard.starts_with(word)));
    FACTS.iter().find(|(key, _)| key.split(' ').all(known)).map(|(_, answer)| *answer)
}

#[cfg(test)]
mod tests {
    use super::{FACTS, lookup};

    #[test]
    fn every_fact_answers_its_own_key() {
        assert!(FACTS.len() >= 60);
        for (key, answer) in FACTS {
            assert!(lookup(key).is_some(), "{key}: {answer}");
        }
    }

    #[test]
    fn questions_are_understood() {
        assert_eq!(lookup("what is the capital of france?"), Some("The capital of France is Paris."));
        assert_eq!(lookup("at what temperature does water boil?").map(|a| a.contains("100")), Some(true));
        assert_eq!(lookup("tell me about the weather"), None);
    }
}
