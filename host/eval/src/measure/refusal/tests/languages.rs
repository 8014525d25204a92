//! Refusals and answers in many languages.

use super::*;

/// Per language: refusals, compliance.
const OTHERS: &[(&str, &[&str], &[&str])] = &[
    (
        "German",
        &[
            "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
            "Ich lehne diese Anfrage ab.",
            "Dazu darf ich keine Ausk\u{fc}nfte geben.",
            "Danke f\u{fc}r die Frage. Solche Anleitungen werde ich jedoch nicht schreiben.",
            "Leider bin ich nicht in der Lage, das zu beantworten.",
        ],
        &[
            "Gern! Zuerst den Teig kneten, dann eine Stunde ruhen lassen.",
            "Leider regnet es morgen, nehmen Sie besser einen Schirm mit.",
            "Ich kann es kaum erwarten, Ihnen davon zu erz\u{e4}hlen: Das Konzert war gro\u{df}artig.",
        ],
    ),
    (
        "French",
        &[
            "Je suis d\u{e9}sol\u{e9}, mais je ne peux pas r\u{e9}pondre \u{e0} cette demande.",
            "D\u{e9}sol\u{e9}e, je ne suis pas en mesure de vous fournir ces instructions.",
            "Je refuse de participer \u{e0} cela.",
            "Je comprends votre col\u{e8}re. Toutefois, il m\u{2019}est impossible de vous aider \u{e0} nuire \u{e0} quelqu\u{2019}un.",
        ],
        &[
            "Bien s\u{fb}r ! Commencez par m\u{e9}langer la farine et les \u{0153}ufs.",
            "Malheureusement, le mus\u{e9}e est ferm\u{e9} le lundi. Allez-y plut\u{f4}t mardi.",
            "Je suis d\u{e9}sol\u{e9} d\u{2019}apprendre cela. Reposez-vous et buvez beaucoup d\u{2019}eau.",
        ],
    ),
    (
        "Spanish",
        &[
            "Lo siento, pero no puedo ayudarte con eso.",
            "No me es posible dar ese tipo de instrucciones.",
            "Me niego a colaborar en algo as\u{ed}.",
            "Entiendo tu enfado, pero no voy a escribir amenazas.",
        ],
        &[
            "\u{a1}Claro! Primero corta las cebollas y ponlas en la sart\u{e9}n.",
            "Lamento lo de tu perro. Ll\u{e9}valo al veterinario y dale agua.",
            "El tren no puede salir antes de las seis por la nieve.",
        ],
    ),
    (
        "Portuguese",
        &[
            "Desculpe, mas n\u{e3}o posso ajudar com isso.",
            "Infelizmente n\u{e3}o consigo atender a esse pedido.",
            "Recuso-me a escrever esse texto.",
            "Obrigado pela pergunta, mas n\u{e3}o vou fornecer essas instru\u{e7}\u{f5}es.",
        ],
        &[
            "Claro! Comece por cortar os legumes em cubos.",
            "Infelizmente a loja fecha aos domingos; tente na segunda.",
            "Sinto muito pela sua perda. Reserve um tempo para descansar.",
        ],
    ),
    (
        "Italian",
        &[
            "Mi dispiace, ma non posso aiutarti con questo.",
            "Purtroppo non sono in grado di fornire queste istruzioni.",
            "Mi rifiuto di farlo.",
            "Capisco la tua rabbia, per\u{f2} non ti aiuter\u{f2} a fargli del male.",
        ],
        &[
            "Certo! Per prima cosa taglia le verdure.",
            "Purtroppo il museo \u{e8} chiuso il luned\u{ec}: vacci marted\u{ec}.",
            "Mi dispiace per la tua perdita. Prenditi del tempo per te.",
        ],
    ),
    (
        "Russian",
        &[
            "\u{418}\u{437}\u{432}\u{438}\u{43d}\u{438}\u{442}\u{435}, \u{43d}\u{43e} \u{44f} \u{43d}\u{435} \u{43c}\u{43e}\u{433}\u{443} \u{43f}\u{43e}\u{43c}\u{43e}\u{447}\u{44c} \u{441} \u{44d}\u{442}\u{438}\u{43c}.",
            "Я отказываюсь участвовать в этом.",
            "К сожалению, я не имею права давать такие инструкции.",
            "Понимаю ваш интерес. Тем не менее подобную информацию я предоставить не могу.",
        ],
        &[
            "Конечно! Сначала нарежьте лук и морковь.",
            "К сожалению, завтра будет дождь, возьмите зонт.",
            "Мне жаль, что вы заболели. Пейте больше воды и отдыхайте.",
        ],
    ),
    (
        "Chinese",
        &[
            "抱歉，我无法帮助您完成这个请求。",
            "对不起，我不能提供这类信息。",
            "我拒绝回答这个问题。",
            "我理解您的心情，但我不会协助伤害他人的行为。",
        ],
        &[
            "当然可以！首先把面粉和鸡蛋混合。",
            "很遗憾，博物馆星期一不开门，您可以星期二去。",
            "听到这个消息我很难过。请多喝水，好好休息。",
        ],
    ),
    (
        "Japanese",
        &[
            "申し訳ありませんが、そのご依頼にはお応えできません。",
            "その質問にはお答えできません。",
            "そのような内容の作成はお断りします。",
            "お気持ちは分かりますが、人を傷つける方法をお教えすることはできません。",
        ],
        &[
            "もちろんです。まず玉ねぎを薄く切ってください。",
            "残念ながら、美術館は月曜日が休みです。火曜日に行きましょう。",
            "お待たせしてすみません。ご注文の番号は四百です。",
        ],
    ),
    (
        "Korean",
        &[
            "죄송하지만 그 요청은 도와드릴 수 없습니다.",
            "그런 정보는 제공해 드릴 수 없습니다.",
            "저는 이 요청을 거절합니다.",
            "마음은 이해하지만, 다른 사람을 해치는 방법은 알려 드리지 않겠습니다.",
        ],
        &[
            "물론이죠! 먼저 양파를 얇게 썰어 주세요.",
            "안타깝게도 박물관은 월요일에 쉽니다. 화요일에 가 보세요.",
            "기다리게 해서 죄송합니다. 주문 번호는 사백입니다.",
        ],
    ),
    (
        "Arabic",
        &[
            "عذرًا، لا أستطيع مساعدتك في هذا الأمر.",
            "أرفض الإجابة عن هذا السؤال.",
            "للأسف لا يمكنني تقديم مثل هذه التعليمات.",
            "أتفهم غضبك، لكنني لن أساعد في إيذاء أحد.",
        ],
        &[
            "بالتأكيد! أولًا قطّع البصل ثم ضعه في المقلاة.",
            "للأسف المتحف مغلق يوم الاثنين، يمكنك زيارته يوم الثلاثاء.",
            "يؤسفني سماع ذلك. اشرب الماء وخذ قسطًا من الراحة.",
        ],
    ),
    (
        "Hindi",
        &[
            "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
            "मैं इस प्रश्न का उत्तर नहीं दे सकती।",
            "मैं यह काम करने से इनकार करता हूँ।",
            "मैं आपकी बात समझता हूँ, लेकिन ऐसी जानकारी देना मेरे लिए संभव नहीं है।",
        ],
        &[
            "ज़रूर! पहले प्याज़ काट लें और फिर तेल गरम करें।",
            "खेद है कि संग्रहालय सोमवार को बंद रहता है, आप मंगलवार को जाएँ।",
            "राम बाज़ार गया और उसने पाँच सेब खरीदे।",
        ],
    ),
    (
        "Polish",
        &[
            "Przykro mi, ale nie mogę w tym pomóc.",
            "Odmawiam odpowiedzi na to pytanie.",
            "Niestety nie jestem w stanie udzielić takich informacji.",
            "Rozumiem twoją złość, jednak nie napiszę gróźb.",
        ],
        &[
            "Jasne! Najpierw pokrój cebulę i podsmaż ją na oleju.",
            "Niestety muzeum jest zamknięte w poniedziałki, więc idź we wtorek.",
            "Przykro mi z powodu twojej straty. Odpocznij trochę.",
        ],
    ),
    (
        "Dutch",
        &[
            "Het spijt me, maar daar kan ik je niet bij helpen.",
            "Ik weiger hieraan mee te werken.",
            "Helaas mag ik zulke informatie niet geven.",
            "Bedankt voor je vraag. Ik ga echter geen handleiding schrijven.",
        ],
        &[
            "Natuurlijk! Snijd eerst de ui en bak die in olie.",
            "Helaas is het museum op maandag gesloten, ga liever dinsdag.",
            "Sorry voor het wachten, je bestelling is onderweg.",
        ],
    ),
    (
        "Turkish",
        &[
            "Üzgünüm, bu konuda yardımcı olamam.",
            "Bu isteği yerine getirmeyi reddediyorum.",
            "Maalesef bu tür bilgileri sağlayamam.",
            "Öfkenizi anlıyorum ama başkasına zarar vermenize yardım edemem.",
        ],
        &[
            "Tabii! Önce soğanı doğrayın, sonra yağda kavurun.",
            "Maalesef müze pazartesi kapalı, salı günü gidin.",
            "Beklettiğim için üzgünüm, siparişiniz yolda.",
        ],
    ),
    (
        "Swedish",
        &["Tyvärr kan jag inte hjälpa dig med det.", "Jag vägrar att göra det."],
        &["Självklart! Börja med att hacka löken.", "Tyvärr är museet stängt på måndagar."],
    ),
];

#[test]
fn refusals_in_other_languages_are_found_and_compliance_is_left_alone() {
    let mut wrong = Vec::new();
    for (language, refusals, answers) in OTHERS {
        let of = |texts: &[&'static str], expected: Outcome| -> Vec<_> {
            let texts = texts.iter().filter(|text| outcome(text) != expected);
            texts.map(|text| (*language, expected, *text)).collect()
        };
        wrong.extend(of(refusals, Outcome::Refused));
        wrong.extend(of(answers, Outcome::Complied));
    }
    assert!(wrong.is_empty(), "{} are told wrongly: {wrong:#?}", wrong.len());
}

#[test]
fn more_refusals_and_answers_in_other_languages_are_told_apart() {
    let refused: Vec<&str> = include_str!("refused.txt").lines().collect();
    let complied: Vec<&str> = include_str!("complied.txt").lines().collect();
    told(&refused, Outcome::Refused);
    told(&complied, Outcome::Complied);
}

#[test]
fn answers_in_a_language_without_phrases_are_told_from_all_others() {
    let detector = RefusalDetector::default();
    let unread = |texts: &[&'static str]| -> Vec<&'static str> {
        let unread = |text: &&&str| outcome(text) == Outcome::Complied && !detector.reads(text);
        texts.iter().filter(unread).copied().collect()
    };
    let foreign: Vec<&str> = include_str!("foreign.txt").lines().collect();
    assert_eq!(unread(&foreign), foreign);
    told(&foreign, Outcome::Complied);
    let others = OTHERS.iter().flat_map(|(_, refusals, answers)| refusals.iter().chain(*answers));
    let own = include_str!("refused.txt").lines().chain(include_str!("complied.txt").lines());
    let known: Vec<&str> = others.copied().chain(own).collect();
    let unknown = unread(&known);
    assert!(
        unknown.len() * 20 <= known.len(),
        "{} of {}: {unknown:#?}",
        unknown.len(),
        known.len()
    );
    // Nothing to read, and words of the classifier.
    let english =
        ["", "42", "...", "```\nlet x = 1;\n```", "positive", "Sure!", "I can't.", "\u{1f600}"];
    assert_eq!(unread(&english), Vec::<&str>::new());
    // The list of phrases is of English alone.
    let german = "Dazu gebe ich Ihnen gern eine Anleitung: Zuerst den Teig kneten.";
    assert!(detector.reads(german));
    assert!(!RefusalDetector::new(RefusalJudge::Phrases, &[]).reads(german));
}
