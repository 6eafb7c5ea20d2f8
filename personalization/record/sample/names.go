package sample

import "cardbureau/personalization/record"

// entry is one name in both scripts.
type entry struct{ local, latin string }

func (e entry) bilingual(withLatin bool) *record.Bilingual {
	b := &record.Bilingual{Local: e.local}
	if withLatin {
		b.Latin = e.latin
	}
	return b
}

// people is a stock of names that go together.
type people struct {
	families, men, women, places []entry
}

// Family names, given names and places as they are common among the people
// named; combined at random they name nobody.
var dari = people{
	families: []entry{
		{"احمدی", "Ahmadi"}, {"حسینی", "Hussaini"}, {"رضایی", "Rezaie"}, {"نظری", "Nazari"}, {"حیدری", "Haidari"},
		{"رحیمی", "Rahimi"}, {"نوری", "Noori"}, {"عزیزی", "Azizi"}, {"سلطانی", "Sultani"}, {"غلامی", "Gholami"},
		{"میرزایی", "Mirzaie"}, {"اکرمی", "Akrami"},
	},
	men: []entry{
		{"محمدعلی", "Mohammad Ali"}, {"علی\u200cرضا", "Alireza"}, {"غلام\u200cسخی", "Ghulam Sakhi"}, {"عبدالله", "Abdullah"},
		{"نجیب\u200cالله", "Najibullah"}, {"ذبیح\u200cالله", "Zabihullah"}, {"محمد نعیم", "Mohammad Naim"}, {"سید مرتضی", "Sayed Murtaza"},
		{"قربان\u200cعلی", "Qurban Ali"}, {"خداداد", "Khudadad"}, {"جمعه\u200cخان", "Juma Khan"}, {"رؤوف", "Rauf"},
	},
	women: []entry{
		{"زهرا", "Zahra"}, {"معصومه", "Masuma"}, {"شکریه", "Shukria"}, {"فرشته", "Fereshta"}, {"نادیه", "Nadia"},
		{"مرضیه", "Marzia"}, {"سکینه", "Sakina"}, {"حوا گل", "Hawa Gul"}, {"لیلا", "Laila"}, {"گلثوم", "Gulsum"},
	},
	places: []entry{{"کابل", "Kabul"}, {"هرات", "Herat"}, {"بامیان", "Bamyan"}, {"مزار شریف", "Mazar-e Sharif"}, {"غزنی", "Ghazni"}},
}

var persian = people{
	families: []entry{
		{"کریمی", "Karimi"}, {"موسوی", "Mousavi"}, {"هاشمی", "Hashemi"}, {"اکبری", "Akbari"}, {"صادقی", "Sadeghi"},
		{"قاسمی", "Ghasemi"}, {"شریفی", "Sharifi"}, {"تیموری", "Teymouri"}, {"پژمان", "Pejman"}, {"چراغی", "Cheraghi"},
	},
	men: []entry{
		{"بهرام", "Bahram"}, {"جمشید", "Jamshid"}, {"فرهاد", "Farhad"}, {"داریوش", "Dariush"}, {"خسرو", "Khosrow"},
		{"پرویز", "Parviz"}, {"شهرام", "Shahram"}, {"امیرحسین", "Amirhossein"}, {"آرش", "Arash"},
	},
	women: []entry{
		{"مریم", "Maryam"}, {"نرگس", "Narges"}, {"شیرین", "Shirin"}, {"پریسا", "Parisa"}, {"ژاله", "Zhaleh"},
		{"گلنار", "Golnar"}, {"مهناز", "Mahnaz"}, {"آذر", "Azar"},
	},
	places: []entry{{"نیمروز", "Nimruz"}, {"فراه", "Farah"}, {"دوشنبه", "Dushanbe"}, {"خجند", "Khujand"}, {"مشهد", "Mashhad"}},
}

var pashto = people{
	families: []entry{
		{"اڅکزی", "Achakzai"}, {"ځدراڼ", "Zadran"}, {"وردګ", "Wardak"}, {"کاکړ", "Kakar"}, {"ستانکزی", "Stanikzai"},
		{"خوږياڼی", "Khogyani"}, {"مومند", "Momand"}, {"هوتک", "Hotak"}, {"پوپلزی", "Popalzai"}, {"ښېرزاد", "Sherzad"},
	},
	men: []entry{
		{"ګل محمد", "Gul Mohammad"}, {"زلمی", "Zalmai"}, {"توریالی", "Toryalai"}, {"ببرک", "Babrak"}, {"پاینده", "Payenda"},
		{"سپین ګل", "Spin Gul"}, {"ټولواک", "Tolwak"}, {"جانان", "Janan"}, {"ډېوه ګل", "Dewa Gul"},
	},
	women: []entry{
		{"ملالۍ", "Malalai"}, {"پلوشه", "Palwasha"}, {"سپوږمۍ", "Spogmai"}, {"تورپېکۍ", "Torpekai"}, {"زرغونه", "Zarghuna"},
		{"ښکلا", "Shkula"}, {"ګلالۍ", "Gulalai"}, {"وږمه", "Wagma"},
	},
	places: []entry{{"کندهار", "Kandahar"}, {"جلال اباد", "Jalalabad"}, {"خوست", "Khost"}, {"لښکرګاه", "Lashkargah"}},
}

// Arabic names keep the yeh and kaf of Arabic, a shadda and a teh marbuta, so
// that normalization and transliteration have something to do.
var arabic = people{
	families: []entry{
		{"الموسوي", "Al-Mousawi"}, {"الكاظمي", "Al-Kadhimi"}, {"الجبوري", "Al-Jubouri"}, {"الساعدي", "Al-Saadi"},
		{"العبيدي", "Al-Obaidi"}, {"الحسيني", "Al-Husseini"}, {"التميمي", "Al-Tamimi"}, {"الربيعي", "Al-Rubaie"},
	},
	men: []entry{
		{"عبد الكريم", "Abdul Karim"}, {"حيدر علي", "Haidar Ali"}, {"مصطفى", "Mustafa"}, {"إبراهيم", "Ibrahim"},
		{"يوسف", "Yousif"}, {"عبّاس", "Abbas"}, {"طارق", "Tariq"}, {"ضياء", "Dhiaa"},
	},
	women: []entry{
		{"فاطمة", "Fatima"}, {"زينب", "Zainab"}, {"نور الهدى", "Nour Al-Huda"}, {"رقيّة", "Ruqayya"}, {"هدى", "Huda"},
		{"آمنة", "Amina"}, {"خديجة", "Khadija"},
	},
	places: []entry{{"بغداد", "Baghdad"}, {"البصرة", "Basra"}, {"النجف", "Najaf"}, {"كربلاء", "Karbala"}, {"حلب", "Aleppo"}},
}
